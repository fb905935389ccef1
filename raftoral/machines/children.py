"""A run's children and its parent: who asked for whom, and what the end of one means to the other.

Owns the records of the children that a run waits for or will close. The rule it keeps: a child is
asked for once and its end is taken once, however often either is told (semantics 6.3).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from raftoral.codec import VALUE_BYTES_MAX, pack, pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import Index, RunId
from raftoral.machines import commands, layout, outbox
from raftoral.machines.outbox import Begin, Say
from raftoral.replay.history import EVENT_BYTES_MAX

if TYPE_CHECKING:
    from raftoral.kv import Reader
    from raftoral.machines.command import Command
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.replay.history import ChildAsked, Ended, Failure


@dataclass(frozen=True, slots=True)
class Parent:
    """Who asked for a run: the step ``path`` of a run, or (no path) a schedule.

    ``awaited``: it wants to be told the end. ``asked`` is the log index of the ask, so that a run
    that has the same id a second time, after it was forgotten, is not told of an old child.
    """

    id: str
    generation: int
    path: str
    awaited: bool
    asked: Index

    def encode(self) -> bytes:
        """Return the bytes that travel with a start."""
        return pack_record(astuple(self))

    def child(self) -> RunId:
        """Return the id that a child of this step has."""
        return RunId(f"{self.id}/{self.generation}/{self.path}")


def parent_of(data: bytes) -> Parent | None:
    """Return the parent of stored or sent bytes, None for none; `UsageError` if they are neither."""
    if not data:
        return None
    try:
        values = unpack_record(data)
        parent = Parent(*values)
    except (CorruptionError, TypeError):
        raise UsageError("these bytes name no parent") from None
    match values:
        case [str(), int(generation), str(), bool(), int(asked)] if (
            type(generation) is type(asked) is int and generation >= 0 and asked >= 0
        ):
            return parent
        case _:
            raise UsageError("these bytes name no parent")


# ------------------------------------------------------------------ the child's side
def tell(step: Step, run: Run, event: Ended) -> Run:
    """Post the end of a run to the parent that awaits it; return the run as it is then."""
    parent = parent_of(run.parent)
    if parent is None or not parent.awaited:
        return run
    if run.untold:
        outbox.drop(step.txn, run.untold)
    ok, data = (
        event.status == "completed",
        pack(event.value, floats=True, bytes_max=EVENT_BYTES_MAX),
    )
    if len(data) > VALUE_BYTES_MAX:
        # It just fitted into an event of this run, but need not fit into one of its parent.
        message = (
            f"the result takes {len(data):,} bytes; a call is answered with {VALUE_BYTES_MAX:,}"
        )
        ok, data = False, pack(["LimitExceeded", message, {}])
    news = _news(parent, run.id, ok, data)
    return run._replace(untold=outbox.post(step, Say(parent.id, news.encode(), run.id)))


def _news(parent: Parent, run_id: RunId, ok: bool, value: bytes) -> Command:
    if not parent.path:
        return commands.ScheduledEnded(parent.id, run_id)
    return commands.ChildDone(
        RunId(parent.id), parent.generation, parent.path, parent.asked, ok, value
    )


def refusal(begin: Begin, failure: Failure) -> Command | None:
    """Return what to tell this group itself when a start was refused for good; None for nothing."""
    parent = parent_of(begin.parent)
    if parent is None or not parent.awaited:
        return None
    return _news(parent, begin.run_id, False, pack(failure))


# ------------------------------------------------------------------ the parent's side
@dataclass(frozen=True, slots=True)
class Child:
    """A child as its parent knows it: ``begin`` is the message that starts it."""

    id: RunId
    close: str
    awaited: bool
    asked: Index
    begin: int


def find(reader: Reader, run_id: RunId, path: str) -> Child | None:
    """Return the child that a step awaits or will close, or None."""
    data = reader.get(layout.child_key(run_id, path))
    return None if data is None else Child(*unpack_record(data))


def ask(step: Step, run: Run, event: ChildAsked) -> Run:
    """Post the start of a child, once for each step."""
    parent = Parent(run.id, run.generation, event.path, not event.detached, step.index)
    if event.id != parent.child() or not event.path or event.version < 0:
        raise UsageError(f"the child of step `{event.path}` is {parent.child()}, not {event.id}")
    if find(step.txn, run.id, event.path) is not None:
        raise UsageError(f"step `{event.path}` has asked for its child before")
    outbox.check_room(step.txn)
    given = pack(event.input, floats=True, bytes_max=EVENT_BYTES_MAX)
    begin = Begin(parent.child(), parent.encode(), event.name, event.version, given)
    number = outbox.post(step, begin)
    if parent.awaited or event.close != "abandon":
        child = Child(begin.run_id, event.close, parent.awaited, parent.asked, number)
        step.txn.put(layout.child_key(run.id, event.path), pack_record(astuple(child)))
    return run


def leave(step: Step, run: Run, path: str) -> None:
    """Close a child that nobody waits for any more, by its policy; its end is then dropped."""
    child = find(step.txn, run.id, path)
    if child is None:
        return
    step.txn.delete(layout.child_key(run.id, path))
    if child.close != "abandon":
        outbox.close(step, child.begin, child.id, child.close)


def leave_all(step: Step, run: Run) -> None:
    """Close the children of a run that ends or begins anew."""
    prefix = layout.child_key(run.id, "")
    for key in [key for key, _ in step.txn.scan(prefix)]:
        leave(step, run, key[len(prefix) :].decode())


def settle(step: Step, run: Run, path: str) -> None:
    """Forget a child whose end is taken; what asks for its start is not needed any more."""
    child = find(step.txn, run.id, path)
    assert child is not None, "the end of a child that is not open"
    step.txn.delete(layout.child_key(run.id, path))
    outbox.drop(step.txn, child.begin)


def awaited(reader: Reader, command: commands.ChildDone) -> bool:
    """Tell whether the step that a child's end is for still awaits that very child."""
    child = find(reader, command.parent_id, command.path)
    return child is not None and child.awaited and child.asked == command.asked


def open_children(reader: Reader, run_id: RunId) -> list[tuple[str, Child]]:
    """Return the children that a run awaits or will close, by path."""
    prefix = layout.child_key(run_id, "")
    return [
        (key[len(prefix) :].decode(), Child(*unpack_record(data)))
        for key, data in reader.scan(prefix)
    ]
