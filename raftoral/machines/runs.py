"""The record of one run, how it is stored, and how what a group knows of its runs is read.

Owns `Run` and the indexes that follow from it: whoever changes a run goes through `put`. The names
of the keys are in `layout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from raftoral.codec import pack_record, unpack, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import Epoch, Index, Millis, NodeId, Position, RunId, Version
from raftoral.machines import layout
from raftoral.machines.layout import MEMBERS, SLOT_MAP
from raftoral.replay.history import chained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader, Transaction
    from raftoral.values import Value

__all__ = [
    "MEMBERS", "SLOT_MAP", "Run", "check_known_id", "check_run_id", "find", "history", "last_event",
    "live_ids", "live_owners",
    "oldest_mail", "oldest_update", "owned_ids", "parked_ids", "put",
]  # fmt: skip

RUN_ID_LENGTH_MAX: Final = 200
CHILD_ID_LENGTH_MAX: Final = 1_000

NEVER: Final = Millis(0)
RUNNING, PAUSED, PARKED = "running", "paused", "parked"
COMPLETED, FAILED, CANCELLED, TERMINATED = "completed", "failed", "cancelled", "terminated"

LIVE: Final = (RUNNING, PAUSED, PARKED)
"""A paused run's owner begins nothing; a parked run has no owner."""

ENDED: Final = (COMPLETED, FAILED, CANCELLED, TERMINATED)


def check_run_id(run_id: str) -> RunId:
    """Return ``run_id`` if a user may give it: 1 to 200 printable characters without ``/``.

    ``.`` and ``..`` are none: no path of the HTTP API could name them.
    """
    if (
        run_id in ("", ".", "..")
        or "/" in run_id
        or len(run_id) > RUN_ID_LENGTH_MAX
        or not run_id.isprintable()
    ):
        raise UsageError(
            f"{run_id!r:.60} cannot be a run id: use 1 to {RUN_ID_LENGTH_MAX} printable "
            "characters without '/', and not only '.' or '..'"
        )
    return RunId(run_id)


def check_child_id(run_id: str) -> RunId:
    """Return ``run_id`` if a child may have it: ``parent/generation/path``, not too long."""
    if len(run_id) > CHILD_ID_LENGTH_MAX or not run_id.isprintable():
        raise UsageError(
            f"the id of a child has at most {CHILD_ID_LENGTH_MAX:,} printable characters; "
            f"{run_id!r:.60} has {len(run_id):,}. Nest calls less deep, or name the steps shorter"
        )
    return RunId(run_id)


def check_known_id(run_id: str) -> RunId:
    """Return ``run_id`` if some run may have it, whoever gave it."""
    return check_child_id(run_id) if "/" in run_id else check_run_id(run_id)


class Run(NamedTuple):
    """What a group knows of one run, apart from its events.

    A tuple, because each settlement reads, changes and writes it on every member.

    ``reason`` says why it is paused or parked; ``paused`` is the reason of a pause that still
    holds, whoever owns the run. ``parent`` is a packed `raftoral.machines.children.Parent`; ``untold`` is the message that tells it the end, until that
    is acknowledged. ``origin`` is the group and number of the message that began the run, until
    no copy of it can come any more. ``source`` says what a fork was made from, ``request``
    which request of a user began the run.
    """

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
    refused: tuple[NodeId, ...] = ()
    paused: str | None = None
    cancel_asked: bool = False
    warned: bool = False
    parent: bytes = b""
    search: tuple[str, ...] = ()
    untold: int = 0
    origin: tuple[int, ...] = ()
    source: str = ""
    chain: bytes = b""
    """The digest of the history, event by event; see `raftoral.replay.history.chained`."""
    request: str = ""

    @property
    def live(self) -> bool:
        """Tell whether the run has not ended."""
        return self.status in LIVE

    @property
    def held(self) -> bool:
        """Tell whether it must not be forgotten yet: another group still counts on it."""
        return bool(self.untold or self.origin)

    def encode(self) -> bytes:
        """Return the stored record."""
        return pack_record(self[1:])


_STORED: Final = Run._fields[1:]
_TUPLES: Final = tuple(_STORED.index(name) for name in ("refused", "search", "origin"))


def _decode(run_id: RunId, data: bytes) -> Run:
    values = unpack_record(data)
    if len(values) != len(_STORED):
        raise CorruptionError(
            f"the record of run {run_id} has {len(values)} fields, not {len(_STORED)}"
        )
    for place in _TUPLES:
        values[place] = tuple(values[place])
    return Run(run_id, *values)


# ------------------------------------------------------------------ writing
def _indexes(run: Run) -> list[bytes]:
    """Return the index entries that a run in this state has."""
    tail = run.id.encode()
    facets = (layout.EVERYTHING, layout.facet("status", run.status), layout.facet("name", run.name))
    keys = [layout.list_key(each, run.started_at, run.id) for each in facets]
    if run.live:
        keys += [layout.LIVE + tail, layout.owner_prefix(run.owner) + tail]
        if run.status == PARKED:
            keys.append(layout.PARKED_RUNS + tail)
    elif not run.held:
        keys.append(layout.FORGETTABLE + layout.u64(run.ended_at) + tail)
    return keys


def put(txn: Transaction, new: Run, old: Run | None) -> None:
    """Store ``new`` in place of ``old`` and keep the indexes and counts in step."""
    txn.put(layout.record_key(new.id), new.encode())
    if old is not None:
        if (old.status, old.owner, old.held) == (new.status, new.owner, new.held):
            return
        if old.status != new.status:
            layout.add(txn, old.status, -1)
    if old is None or old.status != new.status:
        layout.add(txn, new.status, 1)
    before = set() if old is None else set(_indexes(old))
    after = set(_indexes(new))
    for key in sorted(before - after):
        txn.delete(key)
    for key in sorted(after - before):
        txn.put(key, b"")


def append(txn: Transaction, run: Run, events: list[bytes]) -> Run:
    """Store more events and return the run with its new length, size and digest."""
    size = run.size
    chain = chained(run.chain if run.length else b"", events)
    for offset, data in enumerate(events):
        txn.put(layout.event_key(run.id, run.length + offset), data)
        size += len(data)
    return run._replace(length=Position(run.length + len(events)), size=size, chain=chain)


def remove(txn: Transaction, run: Run) -> None:
    """Remove everything of a run but its searched cells, which `search.clear` removes before."""
    layout.clear(txn, layout.run_prefix(run.id))
    layout.add(txn, run.status, -1)
    for key in _indexes(run):
        txn.delete(key)


# ------------------------------------------------------------------ reading
def find(reader: Reader, run_id: RunId) -> Run | None:
    """Return the record of a run, or None."""
    data = reader.get(layout.record_key(run_id))
    return None if data is None else _decode(run_id, data)


def history(reader: Reader, run_id: RunId, start: int = 0) -> list[bytes]:
    """Return the events of a run from position ``start`` on."""
    prefix = layout.run_prefix(run_id) + b"h/"
    return [data for _, data in reader.scan(prefix, prefix + layout.u64(start))]


def last_event(reader: Reader, run: Run) -> bytes:
    """Return the newest event of a run."""
    data = reader.get(layout.event_key(run.id, Position(run.length - 1)))
    if data is None:
        raise CorruptionError(f"run {run.id} has lost event {run.length - 1}")
    return data


def mailbox_prefix(run_id: RunId, name: str, kind: bytes = b"m") -> bytes:
    """Return the prefix of a mailbox: kind ``m`` of signals, ``u`` of updates."""
    return layout.run_prefix(run_id) + kind + b"/" + name.encode() + b"/"


def oldest_mail(
    reader: Reader, run_id: RunId, name: str, kind: bytes = b"m"
) -> tuple[str, Value] | None:
    """Return id and payload of the oldest signal of that name, or None."""
    for _, data in reader.scan(mailbox_prefix(run_id, name, kind)):
        mail_id, payload = unpack_record(data)
        return mail_id, unpack(payload)
    return None


def oldest_update(reader: Reader, run_id: RunId, name: str) -> tuple[str, Value] | None:
    """Return id and payload of the oldest update of that name, or None."""
    return oldest_mail(reader, run_id, name, b"u")


def live_ids(reader: Reader) -> Iterator[RunId]:
    """Yield the ids of the runs that have not ended."""
    for key, _ in reader.scan(layout.LIVE):
        yield RunId(key[2:].decode())


def live_owners(reader: Reader) -> Iterator[tuple[RunId, NodeId]]:
    """Yield the ids of the runs that have not ended, and who owns each."""
    for key, _ in reader.scan(layout.OWNERS):
        yield RunId(key[7:].decode()), NodeId(int.from_bytes(key[2:6], "big"))


def owned_ids(reader: Reader, node: NodeId) -> Iterator[RunId]:
    """Yield the ids of the live runs that ``node`` owns."""
    prefix = layout.owner_prefix(node)
    for key, _ in reader.scan(prefix):
        yield RunId(key[len(prefix) :].decode())


def parked_ids(reader: Reader) -> Iterator[RunId]:
    """Yield the ids of the parked runs."""
    for key, _ in reader.scan(layout.PARKED_RUNS):
        yield RunId(key[2:].decode())


def forgettable_ids(reader: Reader) -> Iterator[tuple[Millis, RunId]]:
    """Yield when each run ended that may be forgotten, and its id, the oldest first."""
    for key, _ in reader.scan(layout.FORGETTABLE):
        yield Millis(int.from_bytes(key[2:10], "big")), RunId(key[10:].decode())


def clock(reader: Reader) -> Millis:
    """Return the stamp of the newest entry applied; 0 before the first."""
    return Millis(layout.number_of(reader.get(layout.CLOCK)))


def members(reader: Reader) -> dict[NodeId, tuple[str, bool]]:
    """Return every member that ever published itself: its incarnation, and whether it is up."""
    data = reader.get(MEMBERS)
    if data is None:
        return {}
    return {NodeId(node): (incarnation, up) for node, incarnation, up in unpack_record(data)}


def members_up(reader: Reader) -> list[NodeId]:
    """Return the members that are up, in order."""
    return sorted(node for node, (_, up) in members(reader).items() if up)
