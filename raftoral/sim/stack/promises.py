"""What the whole stack promises, and what was seen of it.

Owns the evidence from outside: what callers were told, what every machine applied, what activities
attempted. The rules it checks are those of `semantics`: same entry, same answer on every member; a
step is settled once; what was acknowledged is there in the end; a child is started once and its end
told once; nobody attempts twice what may be attempted once.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from raftoral.machines import events as told
from raftoral.machines import listing, runs
from raftoral.replay.history import (
    Asked,
    CallbackDone,
    ChildAsked,
    ChildDone,
    Closed,
    Done,
    Ended,
    Opened,
    Started,
    Taken,
    TimerFired,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.ids import GroupId, Index, Millis, NodeId, RunId
    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.sim.checkers import Checkers
    from raftoral.sim.stack.flows import Journal

SAME_ANSWER: Final = "all machines answer the same command at the same index alike"
STAMPS: Final = "a group's clock never goes back"
SETTLED_ONCE: Final = "a step of a generation is settled once"
ACKNOWLEDGED: Final = "a run whose start was acknowledged is there in the end"
SIGNALS: Final = "a signal that was acknowledged is taken once, or waits"
ALL_END: Final = "every run ends once the faults have"
ATTEMPTED_ONCE: Final = "what may be attempted once is attempted once at most"
NO_DIVERGENCE: Final = "no replay finds another history than its own"
CHILDREN: Final = "a child is one run, and its end is told once"
ATTEMPTS: Final = "what is settled was attempted"

ONCE: Final = (Asked, Done, TimerFired, Opened, Closed, ChildAsked, ChildDone, CallbackDone, Taken)
"""Events of which a path has one at most, in a generation."""


class Promises:
    """The evidence of one run of the simulator."""

    def __init__(self, checkers: Checkers, count: Counter[str], journal: Journal) -> None:
        self._fail = checkers.fail
        self._count = count
        self._journal = journal
        self._answers: dict[tuple[GroupId, Index], bytes] = {}
        self._stamps: dict[GroupId, tuple[Index, Millis]] = {}
        self._steps: dict[tuple[Any, ...], tuple[NodeId, bytes]] = {}
        self._seen: set[tuple[NodeId, RunId, int, int]] = set()
        self.started: dict[str, tuple[str, int]] = {}
        """Runs whose start was acknowledged, with workflow and input."""
        self.signalled: set[tuple[str, str]] = set()
        """Run and id of the signals that were acknowledged."""

    # -------------------------------------------------------------- what machines do
    def applied(
        self, node: NodeId, gid: GroupId, index: Index, at: Millis, command: bytes, result: Result
    ) -> None:
        """Compare one applied entry with what the others made of it."""
        digest = blake2b(command + repr((at, result)).encode(), digest_size=16).digest()
        known = self._answers.setdefault((gid, index), digest)
        if known != digest:
            self._fail(SAME_ANSWER, f"group {gid}, node {node}, entry {index}: {result!r:.200}")
        last, stamp = self._stamps.get(gid, (index, at))
        if index > last and at < stamp:
            self._fail(STAMPS, f"group {gid}, entry {index}: {at} after {stamp}")
        if index >= last:
            self._stamps[gid] = (index, at)

    def happened(self, node: NodeId, gid: GroupId, events: Sequence[Any]) -> None:
        """Look at what was settled: the first time an event is seen it is counted."""
        for event in events:
            if isinstance(event, told.Settled):
                for offset, data in enumerate(event.events):
                    self._settled(node, event.run, event.base + offset, data)
            elif isinstance(event, told.OwnerChanged):
                self._count["owners changed"] += 1

    def _settled(self, node: NodeId, run: runs.Run, position: int, data: bytes) -> None:
        generation = run.generation
        event = decode(data)
        place = (run.id, generation, position)
        known = self._steps.setdefault(place, (node, data))
        if known[1] != data:
            self._fail(
                SETTLED_ONCE, f"{place} is {data!r:.120} on {node}, {known[1]!r:.120} on {known[0]}"
            )
        if not isinstance(event, ONCE):
            return
        path = (run.id, generation, type(event).__name__, event.path)
        first = self._steps.setdefault(path, (node, position.to_bytes(8, "big")))
        if first[1] != position.to_bytes(8, "big"):
            self._fail(SETTLED_ONCE, f"{path} stands at {position} and earlier")
        elif first[0] == node and (*path, "counted") not in self._steps:
            self._steps[*path, "counted"] = first
            self._count[f"settled: {type(event).__name__}"] += 1

    # -------------------------------------------------------------- the end
    def trouble(self, readers: dict[GroupId, Reader]) -> str | None:
        """Return what has not ended yet; None if all has."""
        for gid, reader in readers.items():
            for run_id in runs.live_ids(reader):
                run = runs.find(reader, run_id)
                return f"group {gid}: run {run_id} has not ended: {run!r:.300}"
        return None

    def check_end(self, readers: dict[GroupId, Reader]) -> None:
        """Compare the final state of all groups with what callers were told."""
        known: dict[str, tuple[runs.Run, list[Any]]] = {}
        for reader in readers.values():
            for run in listing.newest_first(reader):
                if run.id in known:
                    self._fail(CHILDREN, f"run {run.id} is in two groups")
                known[run.id] = (run, [decode(each) for each in runs.history(reader, run.id)])
        for run_id, (name, given) in self.started.items():
            found = known.get(run_id)
            if found is None or found[0].name != name:
                self._fail(ACKNOWLEDGED, f"run {run_id} of {name}({given}): {found!r:.200}")
        self._check_signals(known)
        for run_id, (run, history) in known.items():
            self._count[f"runs {run.status}"] += 1
            self._check_history(run_id, history, known)
        for key, attempts in self._journal.fragile.items():
            if attempts > 1:
                self._fail(ATTEMPTED_ONCE, f"{key} was attempted {attempts} times")

    def _check_history(self, run_id: str, history: list[Any], known: dict[str, Any]) -> None:
        first, last = history[0], history[-1]
        if not isinstance(first, Started) or not isinstance(last, Ended):
            self._fail(ALL_END, f"run {run_id}: {first!r:.100} ... {last!r:.100}")
        for event in history:
            if isinstance(event, ChildAsked) and event.id not in known:
                self._fail(CHILDREN, f"run {run_id} asked for {event.id}, which is not there")
            if isinstance(event, Done) and event.ok:
                key = f"{run_id}/{first.generation}/{event.path}"
                if not self._journal.attempts[key] + self._journal.fragile[key]:
                    self._fail(ATTEMPTS, f"{key} is done and was never attempted")

    def _check_signals(self, known: dict[str, tuple[runs.Run, list[Any]]]) -> None:
        taken: Counter[tuple[str, str]] = Counter()
        for run_id, (_, history) in known.items():
            for event in history:
                if isinstance(event, Taken):
                    taken[run_id, event.signal_id] += 1
        for (run_id, signal_id), times in taken.items():
            if times > 1:
                self._fail(SIGNALS, f"signal {signal_id} of run {run_id} was taken {times} times")
