"""How a stranger becomes a node: the other end of `joining`, at each node of a cluster.

Owns the two calls that are open to strangers. An id is given by group 0, once for a nonce; with TLS,
only under the name that the caller's certificate has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.errors import Unavailable, UsageError
from raftoral.ids import MANAGEMENT
from raftoral.machines import management
from raftoral.machines.commands import AddNode
from raftoral.transport.base import CERTIFIED

if TYPE_CHECKING:
    from raftoral.groups.host import Host
    from raftoral.ids import NodeId
    from raftoral.transport.base import Transport
    from raftoral.values import Value


class Admission:
    """Answers who wants to join; as unavailable until `open`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host: Host | None = None
        transport.serve("cluster.join", self._serve_join, open_to_strangers=True)
        transport.serve("cluster.id", self._serve_id, open_to_strangers=True)

    def open(self, host: Host) -> None:
        """Answer from now on: this node has its place in the cluster."""
        self._host = host

    async def _serve_join(self, _sender: NodeId, body: Value) -> Value:
        host = await self._formed()
        match body:
            case [str(nonce), str(name), str(address), str(http)]:
                command = AddNode(nonce, name, address, http).encode()
            case _:
                raise UsageError("a joining node tells its nonce, name, address and HTTP address")
        certified = CERTIFIED.get()
        if certified and name != certified:
            raise UsageError(
                f"this node would join as {name!r}, but its certificate is that of {certified!r}; "
                "it can only join under that name"
            )
        result = await host.propose(MANAGEMENT, command, timeout=5.0)
        if result[0] == "refused":
            raise UsageError(result[2])
        await host.read_barrier(MANAGEMENT, timeout=5.0)
        present = list(management.nodes(host.groups[MANAGEMENT].state))
        new = next(each for each in present if each.id == result[1])
        if certified and new.name != certified:
            raise UsageError(
                f"the data folder of this node joined as {new.name!r} before, but its certificate is "
                f"that of {certified!r}; start it with that one's, or with an empty folder"
            )
        peers: list[Value] = [[each.id, each.address, each.name] for each in present]
        return [self._transport.local.cluster, new.id, new.name, peers]

    async def _serve_id(self, _sender: NodeId, _body: Value) -> Value:
        cluster = self._transport.local.cluster
        if not cluster:
            raise _starting()
        return cluster

    async def _formed(self) -> Host:
        """Return the host if this node is in a cluster that has its first member."""
        host = self._host
        if host is not None:
            await host.read_barrier(MANAGEMENT, timeout=5.0)
            if any(management.nodes(host.groups[MANAGEMENT].state)):
                return host
        raise _starting()


def _starting() -> Unavailable:
    return Unavailable("this node is starting; try again")
