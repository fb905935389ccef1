"""Which node has which id, for a transport that checks certificates.

Owns what this node has learned beside its own copy of group 0. That copy decides; but a new member
has none yet, and one that was away for long may be called by a leader that joined meanwhile, whose
appends are the only thing that could tell it so. So the names that came with the answer to the join,
and those that trusted peers tell when asked, count too, for ids that group 0 does not know here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from raftoral.errors import RaftoralError
from raftoral.ids import MANAGEMENT, NodeId
from raftoral.machines import management

if TYPE_CHECKING:
    from raftoral.groups.host import Host
    from raftoral.runtime.parts import Network
    from raftoral.values import Value

log = logging.getLogger("raftoral.names")

METHOD: Final = "cluster.names"
ASK_SECONDS: Final = 1.0


class Names:
    """Answers the transport's `name_of`, and asks peers when it cannot."""

    def __init__(self, host: Host, transport: Network, learned: dict[NodeId, str]) -> None:
        self._host = host
        self._transport = transport
        self._learned = dict(learned)
        self._asking: asyncio.Task[None] | None = None
        transport.name_of = self.name_of
        transport.on_unknown = self._ask
        transport.serve(METHOD, self._tell)

    def name_of(self, node: NodeId) -> str | None:
        """Return the name of the node with this id; None if it is not known here."""
        state = self._host.groups[MANAGEMENT].state
        known = management.node(state, node) or management.gone(state).get(node)
        return known.name if known is not None else self._learned.get(node)

    def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self, node: NodeId) -> None:
        """Find out who has an id; the transport is told once somebody knew."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_peers(node))

    async def _ask_peers(self, node: NodeId) -> None:
        for peer in self._transport.connected():
            try:
                told = await self._transport.call(peer, METHOD, None, ASK_SECONDS)
            except RaftoralError as error:
                log.debug("node %d does not tell the names: %s", peer, error)
                continue
            self._learned |= {NodeId(each): name for each, name in cast("list[list[Any]]", told)}
            if self.name_of(node) is not None:
                break
        self._transport.names_changed()

    async def _tell(self, _sender: NodeId, _body: Value) -> Value:
        state = self._host.groups[MANAGEMENT].state
        return [[each.id, each.name] for each in management.nodes(state)]
