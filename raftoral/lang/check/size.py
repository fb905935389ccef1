"""The largest history that a workflow can have, worked out from its IR.

Exact where bounds are constant; what somebody outside does (to cancel, to pause) is not counted. A loop over a list whose length nobody knows counts as an amount
per turn. Every attempt that fails and is repeated is an event too, so retries count as many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from raftoral.lang.check.nodes import Node
    from raftoral.lang.check.workflows import Workflow
    from raftoral.lang.diagnostics import Diagnostics

HISTORY_EVENTS_MAX: Final = 20_000
"""How long a history may grow; the same as `raftoral.replay.history` says."""

_ENDS: Final = 2
"""`Started` and `Ended`."""


@dataclass(frozen=True, slots=True)
class Size:
    """At most ``events``, and as many more as ``turns`` says: (loop, events of one turn)."""

    events: int = 0
    turns: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Size) -> Size:
        """Return the size of one behind the other."""
        return Size(self.events + other.events, self.turns + other.turns)

    def __or__(self, other: Size) -> Size:
        """Return the size of one or the other, whichever is larger."""
        extra = tuple(turn for turn in other.turns if turn not in self.turns)
        return Size(max(self.events, other.events), self.turns + extra)

    def times(self, count: int | None, name: str) -> Size:
        """Return the size of so many turns; None is a number that nobody knows."""
        if count is not None:
            return Size(self.events * count, tuple((n, e * count) for n, e in self.turns))
        return Size(0, ((name, self.events), *self.turns)) if self.events else Size(0, self.turns)

    def __str__(self) -> str:
        """Return it as people read it."""
        more = [f"{events:,} for each turn of `{name}`" for name, events in self.turns]
        return ", and ".join([f"{self.events:,} events", *more])


def largest(body: Node) -> Size:
    """Return the size of the largest history of a body, its beginning and end included."""
    return Size(_ENDS) + _block(body)


def check_size(workflow: Workflow, diagnostics: Diagnostics) -> None:
    """Warn about a workflow whose loops can write more than a history holds."""
    size = largest(workflow.body)
    if size.events > HISTORY_EVENTS_MAX:
        diagnostics.warning(
            "RWF0402",
            f"a run may write {size.events:,} events, and a history holds {HISTORY_EVENTS_MAX:,}",
            workflow.node.name.span,
            help=("lower a `max`, or begin anew in time: `restart with (...)`",),
        )


def _block(block: Node | None) -> Size:
    total = Size()
    for node in block or ():
        total += _statement(node)
    return total


def _either(blocks: list[Node | None]) -> Size:
    total = Size()
    for block in blocks:
        total |= _block(block)
    return total


def _statement(node: Node) -> Size:
    match node:
        case ["checkpoint" | "set" | "log" | "start" | "restart", *_]:
            return Size(1)
        case ["sleep" | "until" | "call" | "callback", *_]:
            return Size(2)
        case ["compute", _, _, _, _, clauses, undo]:
            return _compute(clauses) + (Size() if undo is None else _compute(undo[2]))
        case ["await", _, source]:
            return _source(source)
        case ["receive", _, _, _, block]:
            return Size(2) + _block(block)
        case ["if", arms, otherwise]:
            return _either([*(block for _, block in arms), otherwise])
        case ["match", _, _, cases]:
            return _either([block for _, _, block in cases])
        case ["for", name, _, _, source, _, block]:
            return _block(block).times(_length(source), name)
        case ["while", _, limit, _, block]:
            return _block(block).times(_constant(limit), "while")
        case ["try", body, catches, final]:
            handlers = _either([block for *_, block in catches])
            return _block(body) + handlers + _block(final)
        case ["saga", block]:
            return _block(block)
        case ["parallel", _, _, _, arms]:
            return sum((_block(block) for _, _, block in arms), Size(2))
        case ["fan", _, name, _, _, source, _, _, block]:
            return Size(2) + _block(block).times(_length(source), name)
        case ["race", _, _, ways]:
            return Size(2) + _race(ways)
        case _:
            return Size()


def _race(ways: Node) -> Size:
    beside, won = Size(), Size()
    for way in ways:
        if way[0] == "branch":
            beside += _block(way[2])
        else:
            beside += Size(2) if way[0] == "after" else _source(way[2])
            won |= _block(way[-1])
    return beside + won


def _source(source: Node) -> Size:
    return Size(0 if source[0] == "callback" else 1)  # a callback's two were counted as it opened


def _compute(clauses: list[Any]) -> Size:
    policy, _, deadline, *_, once = clauses
    attempts = 1 if policy is None else int(policy[0])
    return Size(attempts + (1 if once else 0) + (0 if deadline is None else 1))


def _constant(node: Node) -> int | None:
    match node:
        case ["const", int(value)]:
            return value
        case _:
            return None


def _length(node: Node) -> int | None:
    """Return how many items a list has, where the text says so."""
    match node:
        case ["list", items]:
            return len(items)
        case ["const", ["list", items]]:
            return len(items)
        case ["do", "range", [["const", int(start)], ["const", int(end)]]]:
            return max(0, end - start)
        case _:
            return None
