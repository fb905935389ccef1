"""How runs lie in the ordered keys of an execution group, and how to read them.

Owns the key layout. One run takes ``r/<id>/s`` (its record), ``r/<id>/h/<position>`` (its events),
``r/<id>/t/<path>`` (timers), ``r/<id>/m/<name>/<seq>`` (mailboxes), ``r/<id>/i/<signal id>`` (seen
signals) and one entry in each index that fits: ``a/`` live, ``o/<node>/`` by owner, ``p/`` parked,
``e/<ended>`` finished, ``l/<started>`` all. Group-wide: ``c`` clock, ``k`` members, ``s`` slots,
``n`` how many are live, ``f`` how many are finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack_record, unpack, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import Epoch, Index, Millis, NodeId, Position, RunId, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader, Transaction
    from raftoral.values import Value

RUN_ID_LENGTH_MAX: Final = 200
CLOCK: Final = b"c"
MEMBERS: Final = b"k"
SLOT_MAP: Final = b"s"

NEVER: Final = Millis(0)
RUNNING, COMPLETED, FAILED, PARKED = "running", "completed", "failed", "parked"


def check_run_id(run_id: str) -> RunId:
    """Return ``run_id`` if it may name a run: 1 to 200 printable characters without ``/``."""
    if not run_id or "/" in run_id or len(run_id) > RUN_ID_LENGTH_MAX or not run_id.isprintable():
        raise UsageError(
            f"{run_id!r:.60} cannot be a run id: use 1 to {RUN_ID_LENGTH_MAX} printable "
            "characters without '/'"
        )
    return RunId(run_id)


@dataclass(frozen=True, slots=True)
class Run:
    """What a group knows of one run, apart from its events."""

    id: RunId
    name: str
    version: Version
    meaning_hash: str
    input_hash: bytes
    catalog_index: Index
    status: str
    owner: NodeId
    epoch: Epoch
    length: Position
    size: int
    started_at: Millis
    ended_at: Millis = NEVER
    generation: int = 0
    reason: str = ""
    refused: tuple[NodeId, ...] = field(default=())

    @property
    def live(self) -> bool:
        """Tell whether the run has not ended."""
        return self.status in (RUNNING, PARKED)

    def encode(self) -> bytes:
        """Return the stored record."""
        return pack_record(
            [
                self.name,
                self.version,
                self.meaning_hash,
                self.input_hash,
                self.catalog_index,
                self.status,
                self.owner,
                self.epoch,
                self.length,
                self.size,
                self.started_at,
                self.ended_at,
                self.generation,
                self.reason,
                self.refused,
            ]
        )


def _decode(run_id: RunId, data: bytes) -> Run:
    fields = unpack_record(data)
    if len(fields) != 15:
        raise CorruptionError(f"the record of run {run_id} has {len(fields)} fields, not 15")
    fields[-1] = tuple(fields[-1])
    return Run(run_id, *fields)


# ------------------------------------------------------------------ keys
def _run(run_id: str) -> bytes:
    return b"r/" + run_id.encode() + b"/"


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def event_key(run_id: RunId, position: int) -> bytes:
    """Return the key of one event."""
    return _run(run_id) + b"h/" + _u64(position)


def timer_key(run_id: RunId, path: str) -> bytes:
    """Return the key of a timer."""
    return _run(run_id) + b"t/" + path.encode()


def seen_key(run_id: RunId, signal_id: str) -> bytes:
    """Return the key that remembers a signal."""
    return _run(run_id) + b"i/" + signal_id.encode()


def mailbox_prefix(run_id: RunId, name: str) -> bytes:
    """Return the prefix of a mailbox."""
    return _run(run_id) + b"m/" + name.encode() + b"/"


def mail_key(run_id: RunId, name: str, sequence: int) -> bytes:
    """Return the key of one signal in a mailbox."""
    return mailbox_prefix(run_id, name) + _u64(sequence)


def owner_prefix(node: NodeId) -> bytes:
    """Return the prefix of the runs that ``node`` owns."""
    return b"o/" + node.to_bytes(4, "big") + b"/"


def _indexes(run: Run) -> list[bytes]:
    """Return the index entries that a run in this state has."""
    tail = run.id.encode()
    keys = [b"l/" + _u64(run.started_at) + tail]
    if run.live:
        keys += [b"a/" + tail, owner_prefix(run.owner) + tail]
        if run.status == PARKED:
            keys.append(b"p/" + tail)
    else:
        keys.append(b"e/" + _u64(run.ended_at) + tail)
    return keys


# ------------------------------------------------------------------ writing
def put(txn: Transaction, new: Run, old: Run | None) -> None:
    """Store ``new`` in place of ``old`` and keep the indexes in step."""
    txn.put(_run(new.id) + b"s", new.encode())
    if old is not None and (old.status, old.owner) == (new.status, new.owner):
        return
    before = set() if old is None else set(_indexes(old))
    after = set(_indexes(new))
    for key in sorted(before - after):
        txn.delete(key)
    for key in sorted(after - before):
        txn.put(key, b"")


def append(txn: Transaction, run: Run, events: list[bytes]) -> Run:
    """Store more events and return the run with its new length and size."""
    size = run.size
    for offset, data in enumerate(events):
        txn.put(event_key(run.id, run.length + offset), data)
        size += len(data)
    return replace(run, length=Position(run.length + len(events)), size=size)


def clear_range(txn: Transaction, prefix: bytes) -> None:
    """Delete every key under ``prefix``."""
    for key in [key for key, _ in txn.scan(prefix)]:
        txn.delete(key)


def clear_mail(txn: Transaction, run_id: RunId) -> None:
    """Drop the timers and mailboxes of a run that has ended; seen signals stay."""
    clear_range(txn, _run(run_id) + b"t/")
    clear_range(txn, _run(run_id) + b"m/")


def forget(txn: Transaction, run: Run) -> None:
    """Remove everything of a run."""
    clear_range(txn, _run(run.id))
    for key in _indexes(run):
        txn.delete(key)


# ------------------------------------------------------------------ reading
def find(reader: Reader, run_id: RunId) -> Run | None:
    """Return the record of a run, or None."""
    data = reader.get(_run(run_id) + b"s")
    return None if data is None else _decode(run_id, data)


def history(reader: Reader, run_id: RunId, start: int = 0) -> list[bytes]:
    """Return the events of a run from position ``start`` on."""
    prefix = _run(run_id) + b"h/"
    return [data for _, data in reader.scan(prefix, prefix + _u64(start))]


def last_event(reader: Reader, run: Run) -> bytes:
    """Return the newest event of a run."""
    data = reader.get(event_key(run.id, run.length - 1))
    if data is None:
        raise CorruptionError(f"run {run.id} has lost event {run.length - 1}")
    return data


def oldest_mail(reader: Reader, run_id: RunId, name: str) -> tuple[str, Value] | None:
    """Return id and payload of the oldest signal of that name, or None."""
    for _, data in reader.scan(mailbox_prefix(run_id, name)):
        signal_id, payload = unpack_record(data)
        return signal_id, unpack(payload)
    return None


def live_ids(reader: Reader) -> Iterator[RunId]:
    """Yield the ids of the runs that have not ended."""
    for key, _ in reader.scan(b"a/"):
        yield RunId(key[2:].decode())


def owned_ids(reader: Reader, node: NodeId) -> Iterator[RunId]:
    """Yield the ids of the live runs that ``node`` owns."""
    prefix = owner_prefix(node)
    for key, _ in reader.scan(prefix):
        yield RunId(key[len(prefix) :].decode())


def parked_ids(reader: Reader) -> Iterator[RunId]:
    """Yield the ids of the parked runs."""
    for key, _ in reader.scan(b"p/"):
        yield RunId(key[2:].decode())


def finished_ids(reader: Reader) -> Iterator[tuple[Millis, RunId]]:
    """Yield when each finished run ended and its id, the oldest first."""
    for key, _ in reader.scan(b"e/"):
        yield Millis(int.from_bytes(key[2:10], "big")), RunId(key[10:].decode())


def newest_first(reader: Reader, before: tuple[Millis, RunId] | None = None) -> Iterator[Run]:
    """Yield the records of all runs, the one started last first; only those behind ``before``.

    ``before`` is when a run started, and its id; it need not be a run of this group.
    """
    start = b""
    if before is not None:
        start = b"l/" + _u64(before[0]) + before[1].encode()
    for key, _ in reader.scan(b"l/", start, reverse=True):
        if key == start:
            continue
        run = find(reader, RunId(key[10:].decode()))
        if run is not None:
            yield run


def clock(reader: Reader) -> Millis:
    """Return the stamp of the newest entry applied; 0 before the first."""
    data = reader.get(CLOCK)
    return Millis(0 if data is None else int.from_bytes(data, "big"))


def members(reader: Reader) -> dict[NodeId, tuple[str, bool]]:
    """Return every member that ever published itself: its incarnation, and whether it is up."""
    data = reader.get(MEMBERS)
    if data is None:
        return {}
    return {NodeId(node): (incarnation, up) for node, incarnation, up in unpack_record(data)}


def members_up(reader: Reader) -> list[NodeId]:
    """Return the members that are up, in order."""
    return sorted(node for node, (_, up) in members(reader).items() if up)
