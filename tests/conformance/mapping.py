"""Our history in the words of the requirements: one table, and how steps and contexts are named.

A history is replayed event by event, in lockstep; where a branch begins or ends at an event, that is
a context in their words. It is the same for Python and for `.rwf`, since both spell their paths
alike:

| path | in their words |
| --- | --- |
| `group/context`, `group/callback` | a child context, a wait for a callback; `group` itself is nothing |
| `group/name` | a branch of a parallel |
| `group[key]` | an iteration of a map |
| `while[2]/check`, `while[2]/sleep` | the condition `while`: the third poll, and the pause behind it |
| `name[key]/step` | a step called `key`: that is how a name is made at run time |
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from raftoral.replay.history import (
    Asked,
    CallbackDone,
    CallbackOpened,
    ChildAsked,
    ChildDone,
    Closed,
    Done,
    Ended,
    Event,
    Opened,
    Retry,
    TimerFired,
    TimerSet,
    decode,
)
from raftoral.replay.interpreter import Replay

if TYPE_CHECKING:
    from raftoral.ids import RunId
    from raftoral.replay.interpreter import Begin
    from raftoral.values import Value

_ALONE: Final = {"context": "RunInChildContext", "callback": "WaitForCallback"}
"""Names of branches that are alone in their groups, whose own events are none of theirs."""

_TIMED_OUT: Final = ("Timeout", "HeartbeatTimeout")


@dataclass(frozen=True)
class Seen:
    """One event in their words; ``details`` is what of the details is compared."""

    type: str
    id: str = ""
    parent: str = ""
    name: str = ""
    sub: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Scopes:
    """What is known of the paths of a history: the branches of all groups, and the open contexts."""

    branches: frozenset[str]
    contexts: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)

    def parent(self, path: str) -> str:
        """Return the innermost context around ``path``."""
        around = [each for each in self.contexts if path.startswith(each + "/")]
        return max(around, key=len, default="")

    def is_context(self, group: str) -> bool:
        """Tell whether a group is one in their words too."""
        return not any(f"{group}/{name}" in self.branches for name in _ALONE)

    def kind(self, group: str) -> str:
        """Return what kind of context a group is; what has no branches is a map of nothing."""
        named = any(each.rpartition("/")[0] == group for each in self.branches)
        return "Parallel" if named else "Map"


def name_of(path: str, branches: frozenset[str] = frozenset()) -> str:
    """Return what a step or a group is called: its key, or that of the loop's turn around it."""
    around, _, key = path.rpartition("/")
    if around.endswith("]") and around not in branches:
        return around.rpartition("[")[2].rstrip("]")
    return key


def seen(run_id: RunId, begin: Begin, history: list[bytes], times: list[int]) -> list[Seen]:
    """Return a history in their words. ``times`` are the moments at which its events were written."""
    branches: set[str] = set()
    first = Replay(run_id, begin, lockstep=True, observe=lambda path, _: branches.add(path))
    first.feed_all(history)
    first.close()
    told: list[Seen] = []
    scopes = Scopes(frozenset(branches))

    def branch(path: str, what: str) -> None:
        if what == "begun":
            scopes.contexts.add(path)
        ended = "Succeeded" if what == "done" else "Failed"
        told.append(_branch(path, "Started" if what == "begun" else ended, scopes))

    replay = Replay(run_id, begin, lockstep=True, observe=branch)
    for data, at in zip(history, times, strict=True):
        told += _told(decode(data), at, scopes)
        replay.feed(data)
    replay.close()
    return told


def _told(event: Event, at: int, scopes: Scopes) -> list[Seen]:
    """The table: what each of our events is in their words."""
    match event:
        case Asked(path):
            scopes.asked.add(path)
            return [_step(path, "Started", scopes)]
        case Retry(path, _, _, _):
            return [*_began(path, scopes), _step(path, "Failed", scopes)]
        case Done(path, _, ok, value):
            ended = _step(path, "Succeeded" if ok else "Failed", scopes, value if ok else None)
            return [*_began(path, scopes), ended]
        case TimerSet(path, due) if not _polled(path):
            return [_leaf("WaitStarted", path, scopes, "Wait", Duration=(due - at) // 1000)]
        case TimerFired(path) if not _polled(path):
            return [_leaf("WaitSucceeded", path, scopes, "Wait")]
        case CallbackOpened(path, _, due, beat):
            limits = {"Timeout": (due - at) // 1000} if due else {}
            limits |= {"HeartbeatTimeout": beat // 1000} if beat else {}
            return [_leaf("CallbackStarted", path, scopes, "Callback", **limits)]
        case CallbackDone(path, True, value):
            return [_leaf("CallbackSucceeded", path, scopes, "Callback", value)]
        case CallbackDone(path, False, [name, *_]):
            how = "CallbackTimedOut" if name in _TIMED_OUT else "CallbackFailed"
            return [_leaf(how, path, scopes, "Callback")]
        case ChildAsked(path):
            return [_leaf("ChainedInvokeStarted", path, scopes, "")]
        case ChildDone(path, ok, value):
            how = "ChainedInvokeSucceeded" if ok else "ChainedInvokeFailed"
            return [_leaf(how, path, scopes, "", value if ok else None)]
        case Opened(path) if scopes.is_context(path):
            scopes.contexts.add(path)
            return [_leaf("ContextStarted", path, scopes, scopes.kind(path))]
        case Closed(path) if scopes.is_context(path):
            return [_leaf("ContextSucceeded", path, scopes, scopes.kind(path))]
        case Ended("completed", value):
            return [Seen("ExecutionSucceeded")]
        case Ended():
            return [Seen("ExecutionFailed")]
        case _:
            return []


def _began(path: str, scopes: Scopes) -> list[Seen]:
    """A step begins where it is asked for; without such an event, where its attempt is settled."""
    if path in scopes.asked:
        scopes.asked.discard(path)
        return []
    return [_step(path, "Started", scopes)]


def _step(path: str, what: str, scopes: Scopes, value: Value = None) -> Seen:
    if _polled(path):
        condition = path.rpartition("[")[0]
        return _leaf(f"Step{what}", condition, scopes, "WaitForCondition", value)
    return _leaf(f"Step{what}", path, scopes, "Step", value)


def _polled(path: str) -> bool:
    """Tell whether a step is one of a poll: directly in a turn of a `while`."""
    return path.rpartition("/")[0].rpartition("/")[2].startswith("while")


def _leaf(
    type_: str, path: str, scopes: Scopes, sub: str, value: Value = None, **more: Any
) -> Seen:
    details = dict(more)
    if value is not None:
        details["Payload"] = value
    return Seen(type_, path, scopes.parent(path), name_of(path, scopes.branches), sub, details)


def _branch(path: str, what: str, scopes: Scopes) -> Seen:
    """Return the beginning or the end of a branch."""
    group, _, name = path.rpartition("[" if path.endswith("]") else "/")
    if name in _ALONE:
        outer = _leaf(f"Context{what}", group, scopes, _ALONE[name])
        return replace(outer, id=path)
    sub = "MapIteration" if path.endswith("]") else "ParallelBranch"
    return Seen(f"Context{what}", path, group, name.rstrip("]"), sub)


# ------------------------------------------------------------------ comparing
def difference(wanted: tuple[dict[str, Any], ...], told: list[Seen], *, all_of: bool) -> str:
    """Return how what was seen differs from what is wanted; empty if it does not.

    Ids are compared by what they bind to. Without ``all_of`` the wanted events have to be seen in
    their order, with others between them.
    """
    if not any(each["EventType"].startswith("Execution") for each in wanted):
        told = [each for each in told if not each.type.startswith("Execution")]
    if all_of and len(wanted) != len(told):
        types = [each["EventType"] for each in wanted]
        return f"{len(wanted)} events wanted, {len(told)} seen: {types} / {[e.type for e in told]}"
    bound: dict[str, Any] = {}
    left = iter(told)
    for number, want in enumerate(wanted, 1):
        why = "no event is left"
        for one in left:
            why = _misfit(want, one, bound)
            if not why or all_of:
                break
        if why:
            return f"event {number} ({want['EventType']}): {why}"
    return ""


def _misfit(want: dict[str, Any], one: Seen, bound: dict[str, Any]) -> str:
    if want["EventType"] != one.type:
        return f"seen {one.type} {one.id}"
    for name, value in (
        ("Id", one.id),
        ("ParentId", one.parent),
        ("Name", one.name),
        ("SubType", one.sub),
    ):
        if name in want and not _same(want[name], value, bound):
            return f"{name} is {value!r}, not {bound.get(str(want[name]), want[name])!r}"
    details = want.get(f"{want['EventType']}Details")
    for name, value in (details if isinstance(details, dict) else {}).items():
        if name in one.details and not _same(value, one.details[name], bound):
            return f"{name} is {one.details[name]!r}, not {value!r}"
        if name == "Result" and isinstance(value, dict) and isinstance(value.get("Payload"), str):
            payload = json.dumps(one.details.get("Payload"))
            if "Payload" in one.details and not _same(value["Payload"], payload, bound):
                return f"the result is {payload}, not {value['Payload']}"
    return ""


def _same(want: Any, value: Any, bound: dict[str, Any]) -> bool:
    if want == "*" or want == value:
        return True
    if isinstance(want, str) and want.startswith("${"):
        return bool(bound.setdefault(want, value) == value)
    return False
