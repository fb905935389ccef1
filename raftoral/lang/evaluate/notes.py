"""What runs of a program come to: its statements, and at each of those that choose, which way.

The ways of a statement are numbered as `lang.branches` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raftoral.lang.evaluate.frames import Flow, Frame, Pure, Steps


@dataclass(slots=True)
class Notes:
    """The numbers of the statements that were reached, and the ways that were taken from them."""

    reached: set[int] = field(default_factory=set)
    taken: set[tuple[int, int]] = field(default_factory=set)


class Noting:
    """Makes closures of one statement note what they do; without ``notes`` they stay as they are."""

    __slots__ = ("_notes", "_number")

    def __init__(self, notes: Notes | None, number: int) -> None:
        self._notes = notes
        self._number = number

    def __bool__(self) -> bool:
        """Tell whether anything is noted."""
        return self._notes is not None

    def reached(self, run: Any) -> Any:
        """Return the closure of the statement, which notes that it is reached."""
        if self._notes is None:
            return run
        seen, number = self._notes.reached, self._number

        def noting(f: Frame) -> Any:
            seen.add(number)
            return run(f)

        return noting

    def way(self, way: int, run: Any) -> Any:
        """Return the closure of a block, which notes that the way to it is taken."""
        if self._notes is None:
            return run
        seen, taken = self._notes.taken, (self._number, way)

        def noting(*given: Any) -> Any:
            seen.add(taken)
            return run(*given)

        return noting

    def either(self, test: Pure) -> Pure:
        """Return an expression that notes way 0 if its value is something, else way 1."""
        if self._notes is None:
            return test
        seen, number = self._notes.taken, self._number

        def noting(f: Frame) -> Any:
            value = test(f)
            seen.add((number, 0 if value else 1))
            return value

        return noting

    def before(self, test: Pure, run: Any) -> Any:
        """Return the closure of a loop, which notes what its condition is before the first turn."""
        if self._notes is None:
            return run
        first = self.either(test)

        def noting(f: Frame) -> Any:
            fuel = f[0].left
            first(f)  # it is pure, so that asking once more changes nothing but the fuel
            f[0].left = fuel
            return run(f)

        return noting

    def passed(self, way: int, flow: Flow) -> Flow:
        """Return a flow that notes that its end was reached without a failure."""
        if self._notes is None:
            return flow
        seen, taken = self._notes.taken, (self._number, way)

        def noting(f: Frame) -> Steps:
            signal = yield from flow(f)
            seen.add(taken)
            return signal

        return noting
