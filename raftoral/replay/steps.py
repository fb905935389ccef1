"""A history, and the code beside it, as steps: one for each thing that the workflow asked for.

A step is what an author wrote as one effect; a history may hold several events of it (a timer is set
and fires, an attempt fails and succeeds). `recorded_steps` reads them from events; `yielded_steps`
runs the code, answered from the record wherever it asks for something recorded, also behind the place
where it leaves the history: so a step that only moved is told from one that is gone.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import NonDeterminismError
from raftoral.replay.failures import as_error
from raftoral.replay.history import (
    Asked,
    CallbackDone,
    CallbackOpened,
    CancelAsked,
    ChildAsked,
    ChildDone,
    ChildLeft,
    Closed,
    Done,
    Ended,
    Event,
    Logged,
    Noted,
    Opened,
    Restarted,
    Retry,
    Set,
    Started,
    Taken,
    TimerFired,
    TimerSet,
    Updated,
    decode,
    encode,
)
from raftoral.replay.interpreter import Replay
from raftoral.replay.text import short
from raftoral.replay.waits import (
    CallbackWait,
    ChildWait,
    ComputeWait,
    NoteWait,
    SignalWait,
    TimerWait,
    TokenWait,
    UpdateWait,
    Wait,
)
from raftoral.replay.wording import describe_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.ids import RunId
    from raftoral.replay.advancing import Begin

END: Final = ""
"""The path of the step that ends a run."""

CLOSED: Final = "closed"
"""The kind of the step that ends a group of branches; its path is that of the group."""

WAIT: Final = "wait"
"""The kind of a recorded timer of which the record does not tell what it belongs to."""


_AGAIN: Final = frozenset({"set", "log", "end", CLOSED})
"""The kinds of which each event is a step of its own."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a workflow asked for.

    ``path`` and ``count`` (of earlier steps of that path: a cell is set many times) name it.
    ``asked`` is what it asked for, to be compared; ``text`` says it to people. ``position`` is that of
    its first event, ``line`` the place in the code; each is of one side only.
    """

    kind: str
    path: str
    asked: Any
    text: str
    count: int = 0
    position: int = -1
    line: str = ""

    @property
    def name(self) -> tuple[str, int]:
        """What the step is found by."""
        return self.path, self.count


# ------------------------------------------------------------------ from a history
def recorded_steps(events: Sequence[Event]) -> list[Step]:
    """Return the steps of a history, in the order in which they were first recorded."""
    steps: list[Step] = []
    counts: defaultdict[str, int] = defaultdict(int)
    open_at: dict[str, int] = {}
    for position, event in enumerate(events):
        step = _step_of(event)
        if step is None:
            continue
        known = open_at.get(step.path)
        if known is not None and step.kind not in _AGAIN:
            before = steps[known]
            if step.kind != WAIT and before.asked is None:
                # What the wait was for is told by how it ended.
                steps[known] = _at(step, before.position, before.count)
            continue
        open_at[step.path] = len(steps)
        steps.append(_at(step, position, _count(step, counts)))
    return steps


def _count(step: Step, counts: defaultdict[str, int]) -> int:
    """Return how many steps of that path came before; the end of a group has a name of its own."""
    if step.kind == CLOSED:
        return 1
    counts[step.path] += 1
    return counts[step.path] - 1


def _at(step: Step, position: int, count: int, line: str = "") -> Step:
    return Step(step.kind, step.path, step.asked, step.text, count, position, line)


def _step_of(event: Event) -> Step | None:
    """Return the step that an event is the first one of; None for what no code asks for."""
    match event:
        case Set(path, value):
            return Step("set", path, value, f"checkpoint {path} = {short(value)}")
        case Logged(path, text):
            return Step("log", path, text, f"log {text!r}")
        case Done(path, call):
            return Step("compute", path, call, f"compute {path} = {describe_call(call)}")
        case Retry(path) | Asked(path):
            return Step("compute", path, None, f"compute {path}")
        case TimerSet(path) | TimerFired(path):
            return Step(WAIT, path, None, f"wait {path}")
        case Taken(path):
            return Step("receive", path, None, f"receive {path}")
        case Updated(path):
            return Step("update", path, None, f"update {path}")
        case Noted(path, kind):
            return Step(kind, path, None, f"{kind} {path}")
        case CallbackOpened(path):
            return Step("callback", path, None, f"callback {path}")
        case Opened(path, n):
            return Step("branches", path, n, f"open {path} with {n} branches")
        case Closed(path):
            return Step(CLOSED, path, None, f"close {path}")
        case ChildAsked(path, _, name, version, given):
            asked = (name, version, given)
            return Step("child", path, asked, f"call {path} = {name} {short(given, 40)}")
        case Restarted(given):
            return Step("end", END, ("restart", given), f"restart with {short(given)}")
        case Ended("terminated"):
            return None
        case Ended(status, value):
            return Step("end", END, (status, _compared(status, value)), _end_text(status, value))
        case _:
            return None


def _compared(status: str, value: Any) -> Any:
    # The message of a failure may hold what differs between processes; its name may not.
    return value if status == "completed" else value[0]


def _end_text(status: str, value: Any) -> str:
    return f"return {short(value)}" if status == "completed" else f"{status} {as_error(value)}"


# ------------------------------------------------------------------ from the code
def yielded_steps(run_id: RunId, begin: Begin, history: Iterable[bytes]) -> tuple[list[Step], bool]:
    """Return the steps that the code asks for now, and whether it came to its end.

    Each is answered by what the history recorded under its path, whatever was asked for then; the
    code stands still at the first step that has no recorded answer.
    """
    return _Lookahead(run_id, begin, [decode(data) for data in history]).walk()


class _Lookahead:
    """The code, run on past the place where it leaves the history."""

    def __init__(self, run_id: RunId, begin: Begin, events: list[Event]) -> None:
        self._replay = Replay(run_id, begin)
        self._answers: defaultdict[str, deque[tuple[int, Event]]] = defaultdict(deque)
        self._arrivals: deque[tuple[int, Event]] = deque()
        self._steps: list[Step] = []
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._waited: set[str] = set()
        self._answered: set[str] = set()
        self._events = events
        for position, event in enumerate(events):
            match event:
                case CancelAsked():
                    self._arrivals.append((position, event))
                case (
                    Retry()
                    | Asked()
                    | Done()
                    | TimerSet()
                    | TimerFired()
                    | Taken()
                    | Noted()
                    | CallbackOpened()
                    | CallbackDone()
                    | Updated()
                    | ChildDone()
                ):
                    self._answers[event.path].append((position, event))
                case _:
                    pass  # Yielded by the code, or nothing that it hears of.

    def walk(self) -> tuple[list[Step], bool]:
        first = self._events[0] if self._events else None
        if not isinstance(first, Started):
            return [], False
        try:
            self._replay.feed(encode(first, floats=True))
            while not self._replay.ended or self._replay.outbox:
                if not (self._confirm() or self._answer() or self._arrive()):
                    break
        except NonDeterminismError:
            pass  # What was recorded fits nothing that it asks for: there it stands.
        finally:
            ended = self._replay.ended
            self._left = set(self._replay.waits)
            self._replay.close()
        return [step for step in self._steps if not self._was_dropped(step)], ended

    def _was_dropped(self, step: Step) -> bool:
        """Tell whether the code stopped waiting for a step before anything was recorded of it."""
        path = step.path
        return path in self._waited and path not in self._answered and path not in self._left

    def _note_waits(self) -> None:
        """Note what the code waits for now; whatever it yielded before is noted already."""
        for path, wait in self._replay.waits.items():
            step = None if path in self._waited else _step_waited(wait)
            if step is not None:
                self._waited.add(path)
                self._note(step, self._replay.line_of(path))

    def _confirm(self) -> bool:
        """Take what the code yielded for committed; tell whether there was any."""
        yielded = self._replay.oldest_yielded
        if yielded is None:
            return False
        data, line = yielded
        event = decode(data)
        step = None if isinstance(event, ChildLeft) else _step_of(event)
        if step is not None:
            self._note(step, line)
        self._replay.feed(data)
        return True

    def _note(self, step: Step, line: str) -> None:
        self._steps.append(_at(step, -1, _count(step, self._counts), line))

    def _answer(self) -> bool:
        """Give the oldest recorded answer to anything that the code waits for."""
        self._note_waits()
        found = [
            (known[0][0], path) for path in self._replay.waits if (known := self._answers.get(path))
        ]
        if not found:
            return self._answer_renamed()
        position, path = min(found)
        if self._arrivals and self._arrivals[0][0] < position:
            return False
        self._answered.add(path)
        _, event = self._answers[path].popleft()
        wait = self._replay.waits[path]
        if isinstance(event, Done) and isinstance(wait, ComputeWait):
            event = event._replace(call=wait.call)
        self._replay.feed(encode(event, floats=True))
        return True

    def _answer_renamed(self) -> bool:
        """Give a compute that is not recorded the answer to the same call under another name."""
        for path, wait in self._replay.waits.items():
            for known, answers in self._answers.items():
                last = answers[-1][1] if answers else None
                if (
                    known not in self._waited
                    and isinstance(wait, ComputeWait)
                    and isinstance(last, Done)
                    and last.call == wait.call
                ):
                    answers.clear()
                    self._answered.add(path)
                    self._replay.feed(encode(last._replace(path=path), floats=True))
                    return True
        return False

    def _arrive(self) -> bool:
        if not self._arrivals:
            return False
        self._replay.feed(encode(self._arrivals.popleft()[1], floats=True))
        return True


def _step_waited(wait: Wait) -> Step | None:
    match wait:
        case ComputeWait(path, _, call):
            return Step("compute", path, call, f"compute {path} = {describe_call(call)}")
        case TimerWait(path):
            return Step("sleep", path, None, f"sleep {path}")
        case SignalWait(path):
            return Step("receive", path, None, f"receive {path}")
        case UpdateWait(path):
            return Step("update", path, None, f"update {path}")
        case NoteWait(path, effect):
            kind = type(effect).__name__.lower()
            return Step(kind, path, None, f"{kind} {path}")
        case TokenWait(path):
            return Step("callback", path, None, f"callback {path}")
        case CallbackWait() | ChildWait():
            return None  # Told where it was opened, or asked for.


_SEGMENT: Final = re.compile(r"/[^/]+|\[[^\]]*\]")


def branches_of(*sides: Sequence[Step]) -> dict[str, str]:
    """Return the branches that the steps are in, and the group of each; "" is the workflow itself."""
    groups = {step.path for steps in sides for step in steps if step.kind == "branches"}
    found = {"": ""}
    for steps in sides:
        found.update(_branch(step.path, groups) for step in steps)
    return found


def by_branch(steps: Iterable[Step], branches: dict[str, str]) -> dict[str, list[Step]]:
    """Return the steps of each branch; one of a group that was closed ends in that `CLOSED` step."""
    groups = set(branches.values()) - {""}
    found: dict[str, list[Step]] = {branch: [] for branch in branches}
    closed: dict[str, Step] = {}
    for step in steps:
        found[_branch(step.path, groups)[0]].append(step)
        if step.kind == CLOSED:
            closed[step.path] = step
    for branch, group in branches.items():
        if group in closed:
            found[branch].append(closed[group])
    return found


def _branch(path: str, groups: set[str]) -> tuple[str, str]:
    """Return the innermost branch that a path is in, and the group of that branch."""
    found = "", ""
    for group in groups:
        rest = path[len(group) :] if path.startswith(group) else ""
        segment = _SEGMENT.match(rest)
        if segment is not None and segment.end() < len(rest):
            found = max(found, (group + segment[0], group), key=lambda each: len(each[0]))
    return found
