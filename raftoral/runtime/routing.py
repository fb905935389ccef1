"""The way of a request from any node to the group that it is for.

Owns which group a run belongs to, how a command gets into that group's log, and how a question gets
to one of its members. The rules it keeps: whatever a user asks for carries an id of its own, so a
proposal whose fate is unknown is repeated; and a refusal of a machine comes back as the error that
it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from raftoral import errors
from raftoral.errors import (
    InvalidInput,
    NodeStopped,
    ProposalUnknown,
    RaftoralError,
    Unavailable,
    UsageError,
)
from raftoral.ids import MANAGEMENT, GroupId, NodeId, RunId
from raftoral.machines import management
from raftoral.machines.placement import slot_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from raftoral.groups.host import Host
    from raftoral.kv import Reader
    from raftoral.machines.base import Result
    from raftoral.transport.base import Transport
    from raftoral.values import Value

AGAIN_S: Final = 0.02
"""How soon a proposal whose fate is unknown is repeated."""

MOVING_S: Final = 0.05
"""How soon a group is asked again that does not own a slot (yet, or any more)."""


class Routing:
    """The ways from one node to every group; all methods belong to the node's loop."""

    def __init__(
        self, host: Host, transport: Transport, *, timeout_s: float, election_s: float
    ) -> None:
        """``timeout_s`` bounds one request, ``election_s`` is an election timeout."""
        self._host = host
        self._transport = transport
        self.timeout_s = timeout_s
        self._election_s = election_s

    @property
    def node(self) -> NodeId:
        """This node's id."""
        return self._host.node

    # -------------------------------------------------------------- where things are
    @property
    def topology(self) -> Reader:
        """What this node has applied of group 0."""
        return self._host.groups[MANAGEMENT].state

    def group_of(self, name: RunId | str) -> GroupId:
        """Return the execution group that a run (or whatever else has a slot) belongs to."""
        if management.cluster(self.topology) is None:
            raise Unavailable("this node has not heard from its cluster yet; try again")
        return management.group_of_slot(self.topology, slot_of(RunId(name)))

    def groups(self) -> list[GroupId]:
        """Return all execution groups."""
        return sorted(management.groups(self.topology))

    def is_here(self, group: GroupId) -> bool:
        """Tell whether this node has a copy of the group."""
        return group in self._host.groups

    def is_current(self, group: GroupId) -> bool:
        """Tell whether this node has a copy of the group and hears from its leader."""
        if group not in self._host.groups:
            return False
        leader = self._host.groups[group].leader
        return bool(leader) and (
            leader == self.node or self._host.heard(leader) <= self._election_s
        )

    def state(self, group: GroupId) -> Reader:
        """Return what this node has applied of a group that is here."""
        return self._host.groups[group].state

    def applied(self, group: GroupId) -> int:
        """Return the index up to which this node has applied a group that is here."""
        return self._host.groups[group].store.applied

    def reachable_members(self, group: GroupId) -> list[NodeId]:
        """Return the other members of a group that this node is connected to."""
        connected = set(self._transport.connected())
        told = management.placed(self.topology, group)
        members = told[1] if told else management.groups(self.topology).get(group, [])
        return [node for node in members if node != self.node and node in connected]

    async def barrier(self, group: GroupId) -> None:
        """Return once this node has applied all that was committed in a group that is here."""
        await self._host.read_barrier(group, timeout=self.timeout_s)

    # -------------------------------------------------------------- commands
    async def propose(self, group: GroupId, command: bytes) -> Result:
        """Put a command through a group's log; a refusal is raised as the error that it is."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.timeout_s
        while True:
            try:
                left = max(0.1, until - loop.time())
                result = await self._host.propose(group, command, timeout=left)
            except NodeStopped:
                raise
            except ProposalUnknown:
                if loop.time() >= until:
                    raise
                await asyncio.sleep(AGAIN_S)
                continue
            if result[0] == "ok":
                return result
            if result[1] != "wrong_group" or loop.time() >= until:
                raise refusal_of(result)
            await asyncio.sleep(MOVING_S)

    # -------------------------------------------------------------- questions
    async def ask(
        self, group: GroupId, method: str, body: list[Value], *, extra_s: float = 0.0
    ) -> Value:
        """Ask the members of ``group`` until one answers; the errors are those of the answer."""
        problem: RaftoralError = Unavailable(
            f"no member of group {group} can be reached; try again"
        )
        for member in self.reachable_members(group):
            try:
                return await self.call(member, method, body, extra_s=extra_s)
            except Unavailable as error:
                problem = error
        raise problem

    async def call(
        self, node: NodeId, method: str, body: list[Value], *, extra_s: float = 0.0
    ) -> Value:
        """Ask one node."""
        return await self._transport.call(node, method, body, self.timeout_s + extra_s)

    def is_connected(self, node: NodeId) -> bool:
        """Tell whether there is a connection to that node."""
        return node in self._transport.connected()

    def serve(self, method: str, handler: Callable[..., Awaitable[Value]]) -> None:
        """Answer the nodes that ask ``method`` with a list of arguments."""

        async def handle(_sender: NodeId, body: Value) -> Value:
            if not isinstance(body, list):
                raise UsageError("a request is a list of arguments")
            return await handler(*body)

        self._transport.serve(method, handle)

    def serve_peer(self, method: str, handler: Callable[..., Awaitable[Value]]) -> None:
        """Answer like `serve`; the handler's first argument is who asks."""

        async def handle(sender: NodeId, body: Value) -> Value:
            if not isinstance(body, list):
                raise UsageError("a request is a list of arguments")
            return await handler(sender, *body)

        self._transport.serve(method, handle)


# ------------------------------------------------------------------ refusals
_BY_CODE: Final = errors.plain_kinds()


def refusal_of(result: Result) -> RaftoralError:
    """Return the refusal of a machine, ``["refused", code, message]``, as an error."""
    return _BY_CODE.get(result[1], InvalidInput)(str(result[2]))
