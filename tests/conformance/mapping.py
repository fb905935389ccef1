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
import re
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

_TIMED_OUT: Final = {"Timeout": "Callback.Timeout", "HeartbeatTimeout": "Callback.Heartbeat"}

_PATTERN: Final = re.compile(r"\$\{/(.*)/\}")


@dataclass(frozen=True)
class Seen:
    """One event in their words; ``details`` is None where a history does not tell any."""

    type: str
    id: str = ""
    parent: str = ""
    name: str = ""
    sub: str = ""
    details: dict[str, Any] | None = None


@dataclass
class Scopes:
    """What is known of the paths of a history: the branches of all groups, and the open contexts."""

    branches: frozenset[str]
    contexts: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    pauses: dict[str, int] = field(default_factory=dict)

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
        event = decode(data)
        told += _told(event, at, scopes)
        if isinstance(event, TimerSet) and _polled(event.path):
            told[-1] = _paused(told[-1], event.due - at)
        replay.feed(data)
    replay.close()
    return told


def _told(event: Event, at: int, scopes: Scopes) -> list[Seen]:
    """The table: what each of our events is in their words."""
    match event:
        case Asked(path):
            scopes.asked.add(path)
            return [_step(path, "Started", scopes, {})]
        case Retry(path, attempt, error, next_at):
            again = {"CurrentAttempt": attempt, "NextAttemptDelaySeconds": _seconds(next_at - at)}
            how = {"Error": _error(error), "RetryDetails": again}
            return [*_began(path, scopes), _step(path, "Failed", scopes, how)]
        case Done(path, _, ok, value, attempts):
            how = {"Result": _payload(value)} if ok else {"Error": _error(value)}
            how["RetryDetails"] = {"CurrentAttempt": attempts}
            what = "Succeeded" if ok else "Failed"
            return [*_began(path, scopes), _step(path, what, scopes, how)]
        case TimerSet(path, due) if not _polled(path):
            scopes.pauses[path] = _seconds(due - at)
            return [_leaf("WaitStarted", path, scopes, "Wait", {"Duration": scopes.pauses[path]})]
        case TimerFired(path) if not _polled(path):
            how = {"Duration": scopes.pauses[path]}
            return [_leaf("WaitSucceeded", path, scopes, "Wait", how)]
        case CallbackOpened(path, token, due, beat):
            how = {"CallbackId": token}
            how |= {"Timeout": _seconds(due - at)} if due else {}
            how |= {"HeartbeatTimeout": _seconds(beat)} if beat else {}
            return [_leaf("CallbackStarted", path, scopes, "Callback", how)]
        case CallbackDone(path, True, value):
            how = {"Result": _payload(value)}
            return [_leaf("CallbackSucceeded", path, scopes, "Callback", how)]
        case CallbackDone(path, False, [name, *more]):
            what = "TimedOut" if name in _TIMED_OUT else "Failed"
            how = {"Error": _error([_TIMED_OUT.get(name, name), *more])}
            return [_leaf(f"Callback{what}", path, scopes, "Callback", how)]
        case ChildAsked(path, input=given):
            only = next(iter(given.values() if isinstance(given, dict) else given), None)
            how = {"Input": _payload(only)}
            return [_leaf("ChainedInvokeStarted", path, scopes, "", how)]
        case ChildDone(path, ok, value):
            how = {"Result": _payload(value)} if ok else {"Error": _error(value)}
            what = "Succeeded" if ok else "Failed"
            return [_leaf(f"ChainedInvoke{what}", path, scopes, "", how)]
        case Opened(path) if scopes.is_context(path):
            scopes.contexts.add(path)
            return [_leaf("ContextStarted", path, scopes, scopes.kind(path))]
        case Closed(path) if scopes.is_context(path):
            return [_leaf("ContextSucceeded", path, scopes, scopes.kind(path))]
        case Ended("completed", value):
            return [Seen("ExecutionSucceeded", details={"Result": _payload(value)})]
        case Ended(_, value):
            return [Seen("ExecutionFailed", details={"Error": _error(value)})]
        case _:
            return []


def _payload(value: Value) -> dict[str, str]:
    return {"Payload": json.dumps(value, default=str)}


def _error(failure: Any) -> dict[str, Any]:
    name, message, *_ = failure
    return {"Payload": {"ErrorType": name, "ErrorMessage": message}}


def _seconds(millis: int) -> int:
    return millis // 1000


def _began(path: str, scopes: Scopes) -> list[Seen]:
    """A step begins where it is asked for; without such an event, where its attempt is settled."""
    if path in scopes.asked:
        scopes.asked.discard(path)
        return []
    return [_step(path, "Started", scopes, {})]


def _step(path: str, what: str, scopes: Scopes, how: dict[str, Any]) -> Seen:
    if _polled(path):
        condition = path.rpartition("[")[0]
        return _leaf(f"Step{what}", condition, scopes, "WaitForCondition", how)
    return _leaf(f"Step{what}", path, scopes, "Step", how)


def _paused(poll: Seen, millis: int) -> Seen:
    """Return a poll with the pause behind it."""
    again = {"NextAttemptDelaySeconds": _seconds(millis)}
    return replace(poll, details={**(poll.details or {}), "RetryDetails": again})


def _polled(path: str) -> bool:
    """Tell whether a step is one of a poll: directly in a turn of a `while`."""
    return path.rpartition("/")[0].rpartition("/")[2].startswith("while")


def _leaf(
    type_: str, path: str, scopes: Scopes, sub: str, how: dict[str, Any] | None = None
) -> Seen:
    return Seen(type_, path, scopes.parent(path), name_of(path, scopes.branches), sub, how)


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
    details = want.get(f"{want['EventType']}Details", "*")
    if one.details is not None and not _same(details, one.details, bound):
        return f"the details are {one.details}, not {details}"
    return ""


def _same(want: Any, value: Any, bound: dict[str, Any]) -> bool:
    """Tell whether a value fits: anything, what a map names, a pattern, a variable, or the same."""
    if isinstance(want, dict):
        return isinstance(value, dict) and all(
            _same(each, value.get(name), bound) for name, each in want.items()
        )
    if want == "*":
        return True
    if isinstance(want, str) and (pattern := _PATTERN.fullmatch(want)):
        return re.search(pattern[1], str(value)) is not None
    if isinstance(want, str) and want.startswith("${"):
        return bool(bound.setdefault(want, value) == value)
    return bool(want == value)
