"""Which definitions are deployed: the rules of deploying, over the ordered keys of group 0.

Pure state: no clock, no I/O. A refusal is a value, since every node must end in the same state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.errors import UsageError
from raftoral.registry.definition import SOURCE_BYTES_MAX, Definition
from raftoral.replay.effects import check_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader, Transaction

VERSION_MAX: Final = 2**31 - 1
_RANGE: Final = b"d/"


def _key(name: str, version: int) -> bytes:
    return _RANGE + name.encode() + b"/" + version.to_bytes(4, "big")


def find(reader: Reader, name: str, version: int | None = None) -> Definition | None:
    """Return that version of ``name``, the newest if none is given, or None."""
    if version is not None:
        if not 0 < version < 2**32:
            return None
        data = reader.get(_key(name, version))
        return None if data is None else Definition.decode(data)
    prefix = _RANGE + name.encode() + b"/"
    for _, data in reader.scan(prefix, reverse=True):
        return Definition.decode(data)
    return None


def all_definitions(reader: Reader) -> Iterator[Definition]:
    """Yield every definition, by name and version."""
    for _, data in reader.scan(_RANGE):
        yield Definition.decode(data)


def add(txn: Transaction, new: Definition) -> tuple[bool, str]:
    """Deploy ``new``; return whether it was added, and why it was refused (empty if it was not).

    The same meaning under the same version is no change; another meaning is refused, and so is a
    version below the newest, since versions only grow.
    """
    unfit = _unfit(new)
    if unfit:
        return False, unfit
    known = find(txn, new.name, new.version)
    if known is not None:
        if known.meaning_hash == new.meaning_hash:
            return False, ""
        return False, (
            f"{new} is deployed with another meaning ({known.meaning_hash[:12]}, this is "
            f"{new.meaning_hash[:12]}). A version never changes: give the new text version "
            f"{_newest(txn, new.name) + 1}"
        )
    newest = _newest(txn, new.name)
    if new.version < newest:
        return False, (
            f"{new} is older than version {newest}, which is deployed. Versions only grow: "
            f"give it version {newest + 1}"
        )
    txn.put(_key(new.name, new.version), new.encode())
    return True, ""


def _unfit(new: Definition) -> str:
    """Return why no definition can look like this; empty if it can."""
    try:
        for part in new.name.split("."):
            check_key(part)
    except UsageError as error:
        return f"the name of a workflow is made of steps' names and dots: {error}"
    if not 0 < new.version <= VERSION_MAX:
        return f"a version is 1 to {VERSION_MAX:,}, not {new.version}"
    if new.kind not in ("rwf", "python"):
        return f"a definition is rwf or python, not {new.kind!r:.20}"
    if len(new.source.encode()) > SOURCE_BYTES_MAX:
        return f"the source of a definition takes at most {SOURCE_BYTES_MAX:,} bytes"
    return ""


def _newest(reader: Reader, name: str) -> int:
    found = find(reader, name)
    return 0 if found is None else found.version
