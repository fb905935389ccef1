"""Keys and checksummed records: how a node's groups share one ordered map.

Owns the key layout and the bytes behind each key, machine ranges excepted. The rule it keeps:
every checksum covers the key, so a record that stands in a wrong place is as bad as a flipped bit.

    4 bytes group id, 1 letter, then
    A  applied: [index]                     B  base: [index, term], the entry before the log
    C  configuration of `applied`           H  hard state: [term, vote, commit]
    L  + 8 bytes index: one entry           R  [0 or 1]: which range is the machine's
    M  + key: range 0                       N  + key: range 1
    T  tail: [index, term] of the last entry, apart from it
    group id 2**32 - 1 is the node's own: I identity, X that it has left its cluster: []

A record is crc32 (4 bytes) + msgpack list; an entry is crc32 + term (8) + kind (1) + data.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NoReturn
from zlib import crc32

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError
from raftoral.ids import GroupId, Index, Term
from raftoral.raft.messages import Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Sequence

APPLIED: Final = b"A"
BASE: Final = b"B"
CONF: Final = b"C"
HARD: Final = b"H"
LOG: Final = b"L"
MACHINES: Final = (b"M", b"N")
RANGE: Final = b"R"
TAIL: Final = b"T"

GROUP_MAX: Final = 2**32 - 2
NODE: Final = (2**32 - 1).to_bytes(4, "big")
IDENTITY_KEY: Final = NODE + b"I"
RETIRED_KEY: Final = NODE + b"X"

_NAMES: Final = {
    APPLIED: "the applied index",
    BASE: "the base of the log",
    CONF: "the configuration",
    HARD: "the hard state",
    RANGE: "the record of which range is its machine's",
    TAIL: "the tail of the log",
}
_ENTRY: Final = Struct(">IQB")
_ENTRY_FIELDS: Final = Struct(">QB")
_KINDS: Final = (EntryKind.NORMAL, EntryKind.CONF)


# ------------------------------------------------------------------ keys
def group_prefix(group: GroupId) -> bytes:
    """Return what every key of ``group`` begins with."""
    assert 0 <= group <= GROUP_MAX, group
    return group.to_bytes(4, "big")


def group_end(group: GroupId) -> bytes:
    """Return the first key behind all keys of ``group``."""
    return (group + 1).to_bytes(4, "big")


def letter_end(prefix: bytes) -> bytes:
    """Return the first key behind all keys that begin with ``prefix``, which ends in a letter."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


# ------------------------------------------------------------------ records
def seal(key: bytes, record: Sequence[Any]) -> bytes:
    """Return the bytes of a small record for ``key``."""
    body = pack_record(record)
    return crc32(body, crc32(key)).to_bytes(4, "big") + body


def unseal(key: bytes, data: bytes, path: str | None) -> list[Any]:
    """Return the record stored at ``key``; `CorruptionError` if it is not what was sealed."""
    body = data[4:]
    if crc32(body, crc32(key)).to_bytes(4, "big") != data[:4]:
        damaged(key, path)
    try:
        return unpack_record(body)
    except CorruptionError:
        damaged(key, path)


def seal_entry(key: bytes, entry: Entry) -> bytes:
    """Return the bytes of ``entry`` for its ``key``."""
    fields = _ENTRY_FIELDS.pack(entry[0], entry[2])
    data = entry[3]
    return crc32(data, crc32(fields, crc32(key))).to_bytes(4, "big") + fields + data


def unseal_entry(key: bytes, data: bytes, path: str | None) -> Entry:
    """Return the entry stored at ``key``; `CorruptionError` naming its group and index."""
    if len(data) < _ENTRY.size:
        damaged(key, path)
    checksum, term, kind = _ENTRY.unpack_from(data)
    if checksum != crc32(data[4:], crc32(key)) or kind >= len(_KINDS):
        damaged(key, path)
    return Entry(
        Term(term), Index(int.from_bytes(key[5:], "big")), _KINDS[kind], data[_ENTRY.size :]
    )


# ------------------------------------------------------------------ what to say when they are bad
def damaged(key: bytes, path: str | None) -> NoReturn:
    """Raise the `CorruptionError` for the record at ``key``."""
    raise corruption(path, f"{describe(key)} is not what was written")


def corruption(path: str | None, what: str) -> CorruptionError:
    """Return the error for damage found in the store at ``path``, with what to do about it."""
    if path is None:
        return CorruptionError(f"the store in memory is damaged: {what}")
    return CorruptionError(
        f"the store in {path} is damaged: {what}. Its other members hold the data: keep a copy of "
        "the folder for analysis, remove it, and let this node join the cluster again"
    )


def describe(key: bytes) -> str:
    """Return in words what ``key`` holds."""
    if key[:4] == NODE:
        return "the node's identity" if key == IDENTITY_KEY else "the node's end"
    group, letter = int.from_bytes(key[:4], "big"), key[4:5]
    if letter == LOG:
        return f"group {group}, log entry {int.from_bytes(key[5:], 'big')}"
    return f"group {group}, {_NAMES.get(letter, 'a key of its machine')}"
