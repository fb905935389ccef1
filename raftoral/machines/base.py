"""What every replicated state machine is.

Owns the protocol between a log and its state. A machine never reads a clock, a file or another
group, and keeps no state outside the transaction it is given. The rule it keeps: `apply` is total
and a function of its arguments alone, so every member ends in the same state with the same answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.ids import Index, Millis
    from raftoral.kv import Reader, Transaction

Result: TypeAlias = list[Any]
"""The answer to one command, a plain record: ``["ok", ...]`` or ``["refused", code, message]``."""

Event: TypeAlias = Any
"""What a command made happen: a frozen dataclass of the machine, opaque to whoever carries it."""


class StateMachine(Protocol):
    """One kind of group's state and how commands change it."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Apply one committed command; return its answer and what happened.

        ``at`` is the group's clock as the leader stamped it, never less than in an earlier entry.
        A bad or stale command is an answer, never an exception: an exception is a broken
        invariant and stops the node.
        """
        ...

    def clock(self, reader: Reader) -> Millis:
        """Return the last stamp that was applied; 0 before the first."""
        ...
