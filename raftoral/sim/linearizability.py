"""Whether what callers saw could have happened one at a time, each within its own call.

Owns the search for such an order, two models of what a store should do (a register with
compare-and-set, a text per key that grows), and `History`, which pairs beginnings with ends. Knows
nothing of nodes or logs, reads no clock. The rule it keeps: an answer of `YES` or `NO` is a proof,
and what cannot be decided within the limit is `UNKNOWN`.

An operation without an end, whose caller crashed or gave up, may have happened at any time after it
began, or never. So it may stay out of the order, and a read among them says nothing. Keys do not
concern each other: a history is linearizable if and only if it is so for each key alone.

The search keeps one order and extends it by an operation that had begun before the first end that
is not in it. It never extends the same set of operations in the same state twice, never by an
endless operation that would change nothing, and of endless operations that ask for the same only by
the first.

Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for
linearizability" (2017) for the memory; Herlihy and Wing (1990), theorem 1, for the keys.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

Action: TypeAlias = tuple["Hashable", ...]
"""What a caller asks for: a name and its arguments, as the model knows them."""


class _Unknown(Enum):
    UNKNOWN = "unknown"


UNKNOWN_RESULT: Final = _Unknown.UNKNOWN
"""The result of an operation without an end; it fits every state."""


class Model(NamedTuple):
    """A sequential object: ``step`` returns the next state, or None if the result does not fit.

    ``step(state, action, result)`` wraps the state in a tuple, so that None can be a state.
    """

    initial: Hashable
    step: Callable[[Hashable, Action, Hashable], tuple[Hashable] | None]


class Operation(NamedTuple):
    """One call: when it began and ended, in any numbers that order the events; None is never."""

    key: Hashable
    action: Action
    result: Hashable
    began: int
    ended: int | None


class Verdict(Enum):
    """What the search has found."""

    YES = "linearizable"
    NO = "not linearizable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict, and a key that decides it; None where all keys do."""

    verdict: Verdict
    key: Hashable = None


STEPS_MAX: Final = 400_000


def check(operations: Iterable[Operation], model: Model, *, steps_max: int = STEPS_MAX) -> Finding:
    """Return whether ``operations`` are linearizable in ``model``, key by key.

    At most ``steps_max`` steps are taken for a key, a second or two and some 100 MB. A key that is
    not linearizable decides, even if others cannot be decided.
    """
    keys: dict[Hashable, list[Operation]] = defaultdict(list)
    for operation in operations:
        keys[operation.key].append(operation)
    # A short look at every key first: one that is wrong is often seen at once.
    open_keys = list(keys)
    for limit in (steps_max // 20, steps_max):
        verdicts = {}
        for key in open_keys:
            verdicts[key] = check_key(keys[key], model, steps_max=limit)
            if verdicts[key] is Verdict.NO:
                return Finding(Verdict.NO, key)
        open_keys = [key for key in open_keys if verdicts[key] is Verdict.UNKNOWN]
    return Finding(Verdict.UNKNOWN, open_keys[0]) if open_keys else Finding(Verdict.YES)


def check_key(operations: Sequence[Operation], model: Model, *, steps_max: int) -> Verdict:
    """Return whether the ``operations`` of one key are linearizable, in at most that many steps."""
    return _Search(operations, model).run(steps_max)


class _Search:
    """One order that grows and shrinks; events that are not in it stand in a linked list.

    Event ``2 * i + 1`` is where operation ``i`` begins, ``2 * i + 2`` where it ends, and 0 is both
    ends of the list.
    """

    def __init__(self, operations: Sequence[Operation], model: Model) -> None:
        self._step = model.step
        self._operations = operations
        self._state = model.initial
        self._missing = sum(operation.ended is not None for operation in operations)
        self._twin = _twins(operations)
        count = 2 * len(operations) + 1
        self._next, self._before = [0] * count, [0] * count
        last = 0
        for event in _in_time(operations):
            self._next[last], self._before[event] = event, last
            last = event
        self._next[last], self._before[0] = 0, last

    def run(self, steps_max: int) -> Verdict:
        """Search until an order is found, none is left, or the limit is reached."""
        operations, step, following, twin = self._operations, self._step, self._next, self._twin
        done = 0
        seen: set[tuple[int, Hashable]] = set()
        path: list[tuple[int, Hashable]] = []
        event = following[0]
        for _ in range(steps_max):
            if not self._missing:
                return Verdict.YES
            if event % 2:
                number = event // 2
                operation = operations[number]
                after = step(self._state, operation.action, operation.result)
                if after is not None and (
                    operation.ended is not None
                    or (after[0] != self._state and twin[number] & ~done == 0)
                ):
                    place = (done | 1 << number, after[0])
                    if place not in seen:
                        seen.add(place)
                        path.append((event, self._state))
                        done, self._state = place
                        self._take_out(event)
                        event = following[0]
                        continue
                event = following[event]
            elif path:
                # Somebody saw an end whose operation is not in the order: the order is wrong.
                event, self._state = path.pop()
                done ^= 1 << event // 2
                self._put_back(event)
                event = following[event]
            else:
                return Verdict.NO
        return Verdict.UNKNOWN

    def _take_out(self, event: int) -> None:
        following, before = self._next, self._before
        following[before[event]], before[following[event]] = following[event], before[event]
        if self._operations[event // 2].ended is not None:
            self._missing -= 1
            end = event + 1
            following[before[end]], before[following[end]] = following[end], before[end]

    def _put_back(self, event: int) -> None:
        following, before = self._next, self._before
        if self._operations[event // 2].ended is not None:
            self._missing += 1
            end = event + 1
            following[before[end]] = before[following[end]] = end
        following[before[event]] = before[following[event]] = event


def _in_time(operations: Sequence[Operation]) -> list[int]:
    """Return the events in their order; at the same moment beginnings come first."""
    timed = []
    for number, operation in enumerate(operations):
        timed.append((operation.began, 0, 2 * number + 1))
        if operation.ended is not None:
            timed.append((operation.ended, 1, 2 * number + 2))
    return [event for _, _, event in sorted(timed)]


def _twins(operations: Sequence[Operation]) -> list[int]:
    """Return for each endless operation the bit of the one before it that asks for the same."""
    twins = [0] * len(operations)
    last: dict[Action, int] = {}
    for number in sorted(range(len(operations)), key=lambda number: operations[number].began):
        operation = operations[number]
        if operation.ended is None:
            twins[number] = last.get(operation.action, 0)
            last[operation.action] = 1 << number
    return twins


class History:
    """The events of callers as they come: each has at most one operation under way."""

    def __init__(self) -> None:
        self._moment = 0
        self._under_way: dict[Hashable, Operation] = {}
        self._operations: list[Operation] = []

    def begin(self, caller: Hashable, key: Hashable, action: Action) -> None:
        """Note that ``caller`` asks for ``action``; one that was under way has crashed."""
        self.crash(caller)
        self._under_way[caller] = Operation(key, action, UNKNOWN_RESULT, self._tick(), None)

    def end(self, caller: Hashable, result: Hashable) -> None:
        """Note that ``caller`` got ``result``."""
        operation = self._under_way.pop(caller)
        self._operations.append(operation._replace(result=result, ended=self._tick()))

    def withdraw(self, caller: Hashable) -> None:
        """Note that what ``caller`` asked for certainly did not happen."""
        del self._under_way[caller]

    def crash(self, caller: Hashable) -> None:
        """Note that nobody will know what became of the operation of ``caller``."""
        operation = self._under_way.pop(caller, None)
        if operation is not None:
            self._operations.append(operation)

    def operations(self) -> list[Operation]:
        """Return all operations; those under way count as crashed."""
        return [*self._operations, *self._under_way.values()]

    def _tick(self) -> int:
        self._moment += 1
        return self._moment


# ------------------------------------------------------------------ models
def register(initial: Hashable = None) -> Model:
    """Return a register: ``("read",)``, ``("write", value)`` and ``("cas", old, new)``.

    The result of a read is the value, of a compare-and-set whether the old value was there.
    """
    return Model(initial, _register_step)


def _register_step(state: Hashable, action: Action, result: Hashable) -> tuple[Hashable] | None:
    match action:
        case ("read",):
            return (state,) if result in (state, UNKNOWN_RESULT) else None
        case ("write", value):
            return (value,)
        case ("cas", old, new):
            if result not in (state == old, UNKNOWN_RESULT):
                return None
            return (new if state == old else state,)
        case _:
            raise AssertionError(f"a register knows no {action!r}")


def growing_text() -> Model:
    """Return a text: ``("get",)``, ``("put", text)`` and ``("append", text)``; it begins empty."""
    return Model("", _text_step)


def _text_step(state: Hashable, action: Action, result: Hashable) -> tuple[Hashable] | None:
    match action:
        case ("get",):
            return (state,) if result in (state, UNKNOWN_RESULT) else None
        case ("put", str(text)):
            return (text,)
        case ("append", str(text)):
            return (f"{state}{text}",)
        case _:
            raise AssertionError(f"a text knows no {action!r}")
