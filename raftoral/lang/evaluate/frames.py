"""What the closures of a program share: the frame of a run, and the meter in its first place.

Every pure step costs fuel, which an effect refills; without fuel the run fails with
``FuelExhausted``, on every node at the same step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from raftoral.errors import CorruptionError, WorkflowFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from raftoral.replay.effects import Effect
    from raftoral.values import Value

Frame: TypeAlias = "list[Any]"
Pure: TypeAlias = "Callable[[Frame], Any]"
Steps: TypeAlias = "Generator[Effect[Any], Any, int | None]"
Flow: TypeAlias = "Callable[[Frame], Steps]"

NODES_MAX: Final = 256 * 1024
"""A value with more parts than this cannot be stored, since each part takes a byte."""

DEPTH_MAX: Final = 64
FUEL_EXHAUSTED: Final = "FuelExhausted"

BREAK, CONTINUE, RETURN, GIVE = 1, 2, 3, 4
PURE, STEP, FLOW = 0, 1, 2


class Exhausted(Exception):
    """No fuel is left. Not a `WorkflowFailed`, so that no `catch` and no `finally` sees it."""


class Shared:
    """What all branches of one run share: what it knows of itself, and where each branch stands."""

    __slots__ = ("__weakref__", "own", "places")

    def __init__(self, own: dict[str, Value]) -> None:
        self.own = own
        self.places: WeakKeyDictionary[Any, Frame] = WeakKeyDictionary()


class Meter:
    """What one branch counts: fuel, where it stands, and what it last returned or gave."""

    __slots__ = ("at", "left", "limit", "result", "shared")

    def __init__(self, limit: int, shared: Shared) -> None:
        self.limit = self.left = limit
        self.at = -1
        self.result: Any = None
        self.shared = shared

    def spend(self, amount: int) -> None:
        """Use up fuel."""
        self.left -= amount
        if self.left < 0:
            raise Exhausted


def beside(frame: Frame) -> Frame:
    """Return a frame for what runs beside the others: it sees their variables and has its own fuel."""
    meter: Meter = frame[0]
    own = Meter(meter.limit, meter.shared)
    own.at = meter.at
    return [own, *frame[1:]]


class Sound:
    """What runs inside fails with nothing but errors of the library.

    Without fuel it is ``FuelExhausted``. A stored program is checked for its form, not for its
    types; one that does not fit its own, which no compiler makes, is damage.
    """

    __slots__ = ("_meter",)

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Exchange what would be a foreign error."""
        if isinstance(error, Exhausted):
            limit = f"{self._meter.limit:,}"
            raise WorkflowFailed(
                FUEL_EXHAUSTED, f"{limit} pure steps without an effect, in line of no end"
            ) from None
        if isinstance(error, _FOREIGN):
            raise CorruptionError(f"the program does not fit its own types: {error}") from None


_FOREIGN: Final = (TypeError, AttributeError, LookupError, ValueError, RecursionError)


def nobody_catches(failure: BaseException) -> bool:
    """Tell whether a failure goes through every `catch` and `finally`."""
    return isinstance(failure, WorkflowFailed) and failure.name == FUEL_EXHAUSTED


def bounded(value: Any) -> int:
    """Return how many parts a value has; refuses more than a history could store.

    Values are shared, so a short program can make one that is a small graph and a huge tree.
    """
    if type(value) is not list and type(value) is not dict:
        return 1
    count = 1
    todo = [(value, 1)]
    while todo:
        one, depth = todo.pop()
        count += len(one)
        if count > NODES_MAX:
            raise WorkflowFailed("TooLarge", f"a value may have {NODES_MAX:,} parts")
        if depth > DEPTH_MAX:
            raise WorkflowFailed("TooLarge", f"a value may be nested {DEPTH_MAX} levels deep")
        inner = one.values() if type(one) is dict else one
        todo.extend((i, depth + 1) for i in inner if type(i) is list or type(i) is dict)
    return count
