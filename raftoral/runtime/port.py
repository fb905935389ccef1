"""What the executor needs of the group whose runs it runs, and how a node gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from raftoral.errors import UnknownDefinition
from raftoral.ids import MANAGEMENT
from raftoral.machines import runs
from raftoral.registry import catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.errors import RaftoralError
    from raftoral.ids import GroupId, Millis
    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.registry.definition import Definition
    from raftoral.runtime.engine import Engine


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


class GroupPort:
    """`Port` over the host of a node."""

    def __init__(self, engine: Engine, group: GroupId) -> None:
        self._engine = engine
        self._host = engine.host
        self._group = group

    @property
    def reader(self) -> Reader:
        """The group's applied state."""
        return self._host.groups[self._group].state

    def submit(self, command: bytes, tell: Callable[[Result | RaftoralError], None]) -> None:
        """Put a command on its way into the group's log."""
        self._host.submit(self._group, command, self._engine.config.request_timeout_s, tell)

    def now(self) -> Millis:
        """Return the group's clock."""
        return self._host.stamp_now(self._group)

    def connected(self) -> bool:
        """Tell whether the group's leader was heard within an election timeout."""
        leader = self._host.groups[self._group].leader
        if not leader:
            return False
        limit = self._engine.config.election_timeout_s
        return leader == self._engine.node or self._host.heard(leader) <= limit

    def published(self) -> bool:
        """Tell whether the group has applied this start's `Publish`."""
        known = runs.members(self.reader).get(self._engine.node)
        return known == (self._engine.incarnation, True)

    def definition(self, run: Run) -> Definition | None:
        """Return the definition that the run is pinned to; None while the registry is behind."""
        found = catalog.find(self._host.groups[MANAGEMENT].state, run.name, run.version)
        if found is not None and found.meaning_hash == run.meaning_hash:
            return found
        if self._host.groups[MANAGEMENT].store.applied < run.catalog_index:
            return None
        raise UnknownDefinition(
            f"{run.name} version {run.version} is not deployed with the meaning "
            f"{run.meaning_hash[:12]} that the run is pinned to"
        )
