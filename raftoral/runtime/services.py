"""What one node can be asked, wired together: the requests, the lists, who waits for what.

Owns nothing but the order in which these are made, and hands them what happens in the groups. The
engine knows this one object; `raftoral.runtime.node` reaches through it to the service it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.ids import MANAGEMENT
from raftoral.machines import execution
from raftoral.runtime.deploying import Deploying
from raftoral.runtime.firing import Firing
from raftoral.runtime.forking import Forking
from raftoral.runtime.histories import Histories
from raftoral.runtime.listing import Listing
from raftoral.runtime.lookup import Lookup
from raftoral.runtime.outbox import Outboxes
from raftoral.runtime.queries import Queries
from raftoral.runtime.removal import Removal
from raftoral.runtime.requests import Requests
from raftoral.runtime.routing import Routing
from raftoral.runtime.schedules import Schedules
from raftoral.runtime.starts import Starts
from raftoral.runtime.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from raftoral.groups.host import Host
    from raftoral.ids import GroupId, NodeId
    from raftoral.registry.loader import Loader
    from raftoral.runtime.config import NodeConfig
    from raftoral.runtime.executor import Executor
    from raftoral.runtime.watchdog import Watchdog
    from raftoral.transport.base import Transport


class Services:
    """The services of one node; all methods belong to the node's loop."""

    def __init__(
        self,
        config: NodeConfig,
        host: Host,
        transport: Transport,
        loader: Loader,
        watchdog: Watchdog,
        executors: Mapping[GroupId, Executor],
        unique: Callable[[], str],
    ) -> None:
        self.routing = Routing(
            host,
            transport,
            timeout_s=config.request_timeout_s,
            election_s=config.election_timeout_s,
        )
        self.subscriptions = Subscriptions(self.routing)
        self.definitions = Deploying(self.routing)
        self.lookup = Lookup(self.routing, self.subscriptions, executors)
        self.listing = Listing(self.routing, self.lookup)
        self.histories = Histories(self.routing, self.subscriptions, self.lookup, self.definitions)
        self.queries = Queries(self.routing, self.lookup, self.definitions, loader, watchdog)
        self.removal = Removal(self.routing)
        self.starts = Starts(self.routing, loader, self.definitions)
        self.requests = Requests(self.routing, self.starts, self.lookup, self.subscriptions, unique)
        self.forking = Forking(self.lookup, self.histories, self.starts, unique)
        self.schedules = Schedules(
            self.routing, self.starts, self.lookup, lambda: host.stamp_now(MANAGEMENT), unique
        )
        self._outboxes = Outboxes(self.routing, self.starts, self.lookup)
        self._firing = Firing(self.routing, host.stamp_now)

    # -------------------------------------------------------------- what happens
    def applied(self, group: GroupId, events: Sequence[execution.Event]) -> None:
        """Take what an execution group has just applied."""
        self.subscriptions.applied(group, events)
        if any(isinstance(event, execution.OutboxGrew) for event in events):
            self._outboxes.grew(group)
        if any(isinstance(event, execution.ScheduleChanged) for event in events):
            self._firing.changed(group)

    def leads(self, group: GroupId, leads: bool) -> None:
        """This node leads a group and has applied all of its log, or leads it no longer."""
        if group != MANAGEMENT:
            self._outboxes.leads(group, leads)
            self._firing.leads(group, leads)

    def replaced(self, group: GroupId) -> None:
        """The state of an execution group was replaced, or is not here any more."""
        self.subscriptions.unsure(group)
        if not self.routing.is_here(group):
            self.leads(group, leads=False)

    def peer_lost(self, node: NodeId) -> None:
        """The connection to a peer is lost."""
        self.subscriptions.peer_lost(node)

    def tick(self) -> None:
        """Do what has to be done from time to time."""
        self.subscriptions.tick()

    def close(self) -> None:
        """Answer everybody who waits, for the last time."""
        self._firing.close()
        self._outboxes.close()
        self.subscriptions.close()
