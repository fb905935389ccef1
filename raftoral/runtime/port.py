"""What the executor needs of the group whose runs it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.errors import RaftoralError
    from raftoral.ids import Millis
    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition


class Port(Protocol):
    """One execution group, seen by the executor of one node.

    Whoever tells the executor what was applied tells it all that the state of `reader` holds by
    then, in order.
    """

    @property
    def reader(self) -> Reader:
        """The group's applied state."""
        ...

    def submit(self, command: bytes, tell: Callable[[Result | RaftoralError], None]) -> None:
        """Put a command on its way into the group's log, once.

        ``tell`` gets the machine's answer, or the error that says why there is none.
        """
        ...

    def now(self) -> Millis:
        """Return the group's clock as this node can best tell it."""
        ...

    def connected(self) -> bool:
        """Tell whether this node has heard from the group's leader within an election timeout."""
        ...

    def published(self) -> bool:
        """Tell whether the group has applied that this node is up since its last start."""
        ...

    def definition(self, run: Run) -> Definition | None:
        """Return the definition a run is pinned to; None while this node's registry is behind.

        Raises `UnknownDefinition` if it is not deployed.
        """
        ...
