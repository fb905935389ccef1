"""Branches of one run, and the rule of each kind of group for when it is over.

Pure bookkeeping: nothing here advances a generator. The interpreter tells how a branch ended, and a
`Join` answers whether the others are to be stopped and what the group results in. The order in
which branches end is the order of the log, so every replica decides equally.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raftoral.errors import Cancelled, WorkflowFailed
from raftoral.replay.effects.branches import (
    ALL,
    BATCH,
    CANCELLED,
    DONE,
    ENOUGH,
    EVERY,
    FAILED,
    NOT_BEGUN,
    RACE,
    TOO_MANY,
    Outcome,
    Outcomes,
    Plan,
    Won,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from raftoral.replay.effects import Cell, Effect, Scopes
    from raftoral.replay.waits import Wait


@dataclass(slots=True, eq=False)
class Branch:
    """One generator of a run and where it stands.

    ``depth`` counts the groups that it is inside of. ``outbox`` holds the numbers of what it yielded and the history lacks; ``blocked`` is what it
    waits for; ``held`` what it does once its outbox is committed, in lockstep, and ``unset`` the cell that gets
    its value then. ``cancelling`` says
    that it was asked to stop, ``cancel_due`` that `Cancelled` meets it at its next effect.
    """

    scopes: Scopes
    path: str
    join: Join | None = None
    index: int = 0
    depth: int = 0
    generator: Generator[Effect[Any], Any, Any] | None = None
    outbox: deque[int] = field(default_factory=deque)
    blocked: Wait | Join | None = None
    held: Callable[[], None] | None = None
    unset: tuple[Cell[Any], object] | None = None
    cancelling: bool = False
    cancel_due: Cancelled | None = None
    ended: bool = False


class Join:
    """A group of branches under way: what its parent branch is blocked on."""

    __slots__ = (
        "begun", "branches", "closed", "error", "order", "outcomes", "parent", "path", "plan",
        "reason", "running", "stopping", "undo_error",
    )  # fmt: skip

    def __init__(self, plan: Plan, path: str, parent: Branch) -> None:
        self.plan = plan
        self.path = path
        self.parent = parent
        self.branches: dict[int, Branch] = {}
        self.outcomes: dict[int, Outcome[Any]] = {}
        self.order: list[int] = []
        self.begun = 0
        self.running = 0
        self.stopping = False
        self.closed = False
        self.reason = EVERY
        self.error: BaseException | None = None
        self.undo_error: BaseException | None = None

    @property
    def size(self) -> int:
        """How many branches the group has, begun or not."""
        return len(self.plan.makers)

    @property
    def over(self) -> bool:
        """Tell whether every branch that will ever begin has ended."""
        return not self.running and (self.stopping or self.begun == self.size)

    def may_begin(self) -> bool:
        """Tell whether another branch begins now."""
        limit = self.plan.limit
        return (
            not self.stopping and self.begun < self.size and (limit is None or self.running < limit)
        )

    def name_of(self, index: int) -> str:
        """Return what a branch is called: its name, its index, or the key of its item."""
        return self.plan.segments[index].strip("[]")

    def begin(self, branch: Branch) -> None:
        """Note that a branch begins."""
        self.branches[branch.index] = branch
        self.begun += 1
        self.running += 1

    def ended(self, branch: Branch, value: Any, error: BaseException | None) -> bool:
        """Note how a branch ended; tell whether the others are to be stopped now."""
        index = branch.index
        del self.branches[index]
        self.running -= 1
        self.order.append(index)
        status = DONE if error is None else FAILED
        if isinstance(error, Cancelled) and branch.cancelling:
            status = CANCELLED
        self.outcomes[index] = Outcome(index, self.name_of(index), status, value, error)
        if self.stopping:
            if _undo_failed(error) and self.undo_error is None:
                self.undo_error = error
            return False
        self.stopping = self._decides(status, error)
        return self.stopping

    def _decides(self, status: str, error: BaseException | None) -> bool:
        """Tell whether this end of a branch is the end of the group."""
        plan = self.plan
        if plan.mode == RACE:
            self.error = error
            return True
        if plan.mode == ALL:
            self.error = error
            return status == FAILED
        done = sum(each.status == DONE for each in self.outcomes.values())
        failed = len(self.outcomes) - done
        if plan.enough is not None and done >= plan.enough:
            self.reason = ENOUGH
            return True
        beyond = plan.failures is not None and failed > plan.failures
        if beyond or (plan.percent is not None and failed * 100 > plan.percent * self.size):
            self.reason = TOO_MANY
            return True
        return False

    def result(self, cancelled: Cancelled | None) -> Any:
        """Return what the parent is answered with; raises what it is to be thrown instead.

        What a stopped branch could not take back comes first, so that nobody overlooks it; then
        that the parent itself was ``cancelled``.
        """
        plan = self.plan
        error = self.undo_error or cancelled or self.error
        if error is not None:
            raise error
        if plan.mode == RACE:
            first = self.outcomes[self.order[0]]
            return Won(first.index, first.name, first.value)
        if plan.mode == BATCH:
            return Outcomes(tuple(map(self._outcome, range(self.size))), self.reason)
        values = [self.outcomes[index].value for index in range(self.size)]
        if plan.named:
            return {self.name_of(index): value for index, value in enumerate(values)}
        return values if plan.listed else tuple(values)

    def _outcome(self, index: int) -> Outcome[Any]:
        known = self.outcomes.get(index)
        return known or Outcome(index, self.name_of(index), NOT_BEGUN)


def _undo_failed(error: BaseException | None) -> bool:
    """Tell whether a branch that was stopped could not take back what it had done."""
    return isinstance(error, WorkflowFailed) and error.name == "CompensationFailed"
