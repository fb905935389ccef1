"""What the closures of a program share: the frame of a run, and the meter in its first place.

Every pure step costs fuel, which an effect refills; without fuel the run fails with
``FuelExhausted``, on every node at the same step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.errors import WorkflowFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from raftoral.replay.effects import Effect

Frame: TypeAlias = "list[Any]"
Pure: TypeAlias = "Callable[[Frame], Any]"
Steps: TypeAlias = "Generator[Effect[Any], Any, int | None]"
Flow: TypeAlias = "Callable[[Frame], Steps]"

NODES_MAX: Final = 256 * 1024
"""A value with more parts than this cannot be stored, since each part takes a byte."""

BREAK, CONTINUE, RETURN = 1, 2, 3
PURE, STEP, FLOW = 0, 1, 2


class Exhausted(Exception):
    """No fuel is left. Not a `WorkflowFailed`, so that no `catch` and no `finally` sees it."""


class Meter:
    """What one run counts: fuel, where it stands, and the value of the last `return`."""

    __slots__ = ("at", "left", "limit", "result")

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit
        self.at = -1
        self.result: Any = None

    def spend(self, amount: int) -> None:
        """Use up fuel."""
        self.left -= amount
        if self.left < 0:
            raise Exhausted


def bounded(value: Any) -> None:
    """Refuse a value with too many parts before anyone walks through all of them."""
    kind = type(value)
    if kind is not list and kind is not dict:
        return
    count = 0
    todo = [value]
    while todo:
        one = todo.pop()
        count += len(one)
        if count > NODES_MAX:
            raise WorkflowFailed("TooLarge", f"a value may have {NODES_MAX:,} parts")
        inner = one.values() if type(one) is dict else one
        todo.extend(item for item in inner if type(item) is list or type(item) is dict)
