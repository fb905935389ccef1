"""Our history in the words of the requirements: one table, and how steps and contexts are named.

A history is replayed event by event, in lockstep; where a branch begins or ends at an event, that is
a context in their words. What they call a child context is a `Parallel` of one branch here
(`cases.common.context`), so the events of such a group itself have no counterpart. A poll of theirs
is a compute in a scope of its own; the pause behind it belongs to the poll.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
from tests.conformance.cases.common import BODY, POLL, kind_of

if TYPE_CHECKING:
    from raftoral.ids import RunId
    from raftoral.replay.interpreter import Begin
    from raftoral.values import Value

_ONE_BRANCH: Final = ("context", "callback")
"""The kinds of groups of one branch, whose own events are none of theirs."""

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


def seen(run_id: RunId, begin: Begin, history: list[bytes], times: list[int]) -> list[Seen]:
    """Return a history in their words. ``times`` are the moments at which its events were written."""
    told: list[Seen] = []
    contexts: dict[str, str] = {}

    def branch(path: str, what: str) -> None:
        ended = "Succeeded" if what == "done" else "Failed"
        if what == "begun":
            contexts[path] = path
        told.append(_context(path, "Started" if what == "begun" else ended, contexts))

    replay = Replay(run_id, begin, lockstep=True, observe=branch)
    asked: set[str] = set()
    for data, at in zip(history, times, strict=True):
        event = decode(data)
        told += _told(event, at, contexts, asked)
        replay.feed(data)
    replay.close()
    return told


def _told(event: Event, at: int, contexts: dict[str, str], asked: set[str]) -> list[Seen]:
    """The table: what each of our events is in their words."""
    match event:
        case Asked(path):
            asked.add(path)
            return [_step(path, "Started", contexts)]
        case Retry(path, _, _, _):
            return [*_began(path, asked, contexts), _step(path, "Failed", contexts)]
        case Done(path, _, ok, value):
            ended = _step(path, "Succeeded" if ok else "Failed", contexts, value if ok else None)
            return [*_began(path, asked, contexts), ended]
        case TimerSet(path, due) if _key(path) not in (POLL,):
            return [_leaf("WaitStarted", path, contexts, "Wait", Duration=(due - at) // 1000)]
        case TimerFired(path) if _key(path) not in (POLL,):
            return [_leaf("WaitSucceeded", path, contexts, "Wait")]
        case CallbackOpened(path, _, due, beat):
            limits = {"Timeout": (due - at) // 1000} if due else {}
            limits |= {"HeartbeatTimeout": beat // 1000} if beat else {}
            return [_leaf("CallbackStarted", path, contexts, "Callback", **limits)]
        case CallbackDone(path, True, value):
            return [_leaf("CallbackSucceeded", path, contexts, "Callback", value)]
        case CallbackDone(path, False, [name, *_]):
            how = "CallbackTimedOut" if name in _TIMED_OUT else "CallbackFailed"
            return [_leaf(how, path, contexts, "Callback")]
        case ChildAsked(path):
            return [_leaf("ChainedInvokeStarted", path, contexts, "")]
        case ChildDone(path, ok, value):
            how = "ChainedInvokeSucceeded" if ok else "ChainedInvokeFailed"
            return [_leaf(how, path, contexts, "", value if ok else None)]
        case Opened(path) if kind_of(_key(path)) not in _ONE_BRANCH:
            contexts[path] = path
            return [_context(path, "Started", contexts)]
        case Closed(path) if kind_of(_key(path)) not in _ONE_BRANCH:
            return [_context(path, "Succeeded", contexts)]
        case Ended("completed", value):
            return [Seen("ExecutionSucceeded")]
        case Ended():
            return [Seen("ExecutionFailed")]
        case _:
            return []


def _began(path: str, asked: set[str], contexts: dict[str, str]) -> list[Seen]:
    """A step begins where it is asked for; without such an event, where its attempt is settled."""
    if path in asked:
        asked.discard(path)
        return []
    return [_step(path, "Started", contexts)]


def _step(path: str, what: str, contexts: dict[str, str], value: Value = None) -> Seen:
    if "/" in path and kind_of(path.split("/")[-2]) == "poll":
        whole = path.rsplit("/", 2)[0]
        return _leaf(f"Step{what}", whole, contexts, "WaitForCondition", value)
    return _leaf(f"Step{what}", path, contexts, "Step", value)


def _leaf(
    type_: str, path: str, contexts: dict[str, str], sub: str, value: Value = None, **more: Any
) -> Seen:
    details = dict(more)
    if value is not None:
        details["Payload"] = value
    return Seen(type_, path, _parent(path, contexts), _key(path), sub, details)


def _context(path: str, what: str, contexts: dict[str, str]) -> Seen:
    group, _, last = path.rpartition("/")
    if last == BODY:
        sub = "WaitForCallback" if kind_of(_key(group)) == "callback" else "RunInChildContext"
        return Seen(f"Context{what}", path, _parent(group, contexts), _plain(_key(group)), sub)
    if last.endswith("]"):
        group, _, key = path.rpartition("[")
        sub = "MapIteration" if kind_of(_key(group)) == "map" else "ParallelBranch"
        return Seen(f"Context{what}", path, group, key.rstrip("]"), sub)
    sub = "Map" if kind_of(last) == "map" else "Parallel"
    return Seen(f"Context{what}", path, _parent(path, contexts), _plain(last), sub)


def _parent(path: str, contexts: dict[str, str]) -> str:
    """Return the innermost context around ``path``."""
    around = [each for each in contexts if path.startswith(each + "/")]
    return max(around, key=len, default="")


def _key(path: str) -> str:
    return path.rpartition("/")[2]


def _plain(key: str) -> str:
    """Return a key without the word that says what kind of group it names."""
    return key.partition(":")[2] or key


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
