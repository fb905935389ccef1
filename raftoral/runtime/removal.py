"""Asks for the removal of a node, if the cluster can spare it.

Owns the check before a removal, not the doing: that is the work of whoever leads the groups
(`raftoral.runtime.members`), now or later. The rule it keeps: a removal that would leave a group
without a majority that answers is refused, with what to do first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.errors import Unavailable, UnknownNode, UsageError
from raftoral.ids import MANAGEMENT, NodeId
from raftoral.machines import management
from raftoral.machines.commands import RemoveNode

if TYPE_CHECKING:
    from collections.abc import Collection

    from raftoral.kv import Reader
    from raftoral.runtime.routing import Routing


class Removal:
    """What one node is asked to have removed."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    async def ask(self, who: int | str) -> NodeId | None:
        """Have group 0 note that a node is to leave; return its id, None once it has left.

        Asked again it changes nothing. Raises `UnknownNode` if there is none, `UsageError` if it
        is the last one or a group would lose its majority; `Unavailable` if group 0 cannot decide now.
        """
        topology, living = self._routing.topology, self._living()
        try:
            await self._routing.barrier(MANAGEMENT)
        except Unavailable:
            voters = management.management_voters(topology)
            raise Unavailable(_undecided(voters, living)) from None
        node = find(topology, who)
        check_rest(topology, node, living)
        command = RemoveNode(node, sorted(living)).encode()
        result = await self._routing.propose(MANAGEMENT, command)
        return None if result[1] == "gone" else node

    def _living(self) -> set[NodeId]:
        routing = self._routing
        return {
            each.id
            for each in management.nodes(routing.topology)
            if each.id == routing.node or routing.is_connected(each.id)
        }


def find(topology: Reader, who: int | str) -> NodeId:
    """Return the id of a node that is or was in the cluster, by id (also as text) or name."""
    present = {each.id: each.name for each in management.nodes(topology)}
    known = {each.id: each.name for each in management.gone(topology).values()} | present
    number = int(who) if isinstance(who, int) or (who.isascii() and who.isdecimal()) else 0
    if number in known:
        return NodeId(number)
    for names in (present, known):
        for node, name in names.items():
            if name == who:
                return node
    listed = ", ".join(f"{node} ({name})" for node, name in present.items())
    raise UnknownNode(f"no node is called {who!r:.60}; there are: {listed}")


def check_rest(topology: Reader, node: NodeId, living: Collection[NodeId]) -> None:
    """Raise `UsageError` if a group that has the node could not decide without it."""
    if node not in management.staying(topology):
        return  # That was checked when it was asked first.
    before = management.groups(topology)
    for group, rest in management.after_removal(topology, node, living).items():
        if group != MANAGEMENT and node not in before[group]:
            continue
        silent = sorted(set(rest) - set(living))
        if rest and 2 * len(silent) >= len(rest):
            raise UsageError(
                f"without node {node}, group {group} would be nodes {_listed(rest)}, of which "
                f"{_listed(silent)} do not answer: too few to decide anything. Start them, or remove "
                "them first"
            )


def _undecided(voters: Collection[NodeId], living: Collection[NodeId]) -> str:
    """Return why group 0 decides nothing now, and what to do about it."""
    silent = sorted(set(voters) - set(living))
    if 2 * len(silent) < len(voters):
        return "group 0 has no leader just now; try again"
    return (
        f"group 0 cannot decide: of its voters {_listed(voters)}, {_listed(silent)} do not answer. "
        "Start enough of them that a majority runs, then try again"
    )


def _listed(nodes: Collection[NodeId]) -> str:
    return " and ".join(str(node) for node in sorted(nodes)) or "nobody"
