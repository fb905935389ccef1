"""The state machine of group 0: nodes, groups, the slot table, and the registry of definitions.

It never sees the state of a run. `apply` is total: a bad command is a refusal. Keys: ``C`` cluster,
``n/<id>`` nodes, ``j/<nonce>`` joins, ``g/<id>`` groups, ``d/...`` definitions, ``c`` clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import SLOTS, GroupId, Index, Millis, NodeId
from raftoral.machines import commands
from raftoral.registry import catalog
from raftoral.registry.definition import Definition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.kv import Reader, Transaction

GROUPS_MAX: Final = 256
NAME_LENGTH_MAX: Final = 200
GROUP_MEMBERS_MAX: Final = 3
MANAGEMENT_VOTERS_MAX: Final = 5
_CLUSTER, _CLOCK = b"C", b"c"

Result: TypeAlias = "list[Any]"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its name, and where its peers and its users reach it."""

    id: NodeId
    name: str
    address: str
    http: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """A definition was added."""

    definition: Definition


@dataclass(frozen=True, slots=True)
class TopologyChanged:
    """A node came or moved, or a group has another set of members."""


Event: TypeAlias = Deployed | TopologyChanged


# ------------------------------------------------------------------ reading
def cluster(reader: Reader) -> tuple[str, int] | None:
    """Return the cluster's id and its number of execution groups; None before it is formed."""
    data = reader.get(_CLUSTER)
    if data is None:
        return None
    name, groups = unpack_record(data)
    return name, groups


def nodes(reader: Reader) -> Iterator[Node]:
    """Yield every node, by id."""
    for key, data in reader.scan(b"n/"):
        name, address, http = unpack_record(data)
        yield Node(NodeId(int.from_bytes(key[2:], "big")), name, address, http)


def node(reader: Reader, node_id: NodeId) -> Node | None:
    """Return one node, or None."""
    return next((each for each in nodes(reader) if each.id == node_id), None)


def management_voters(reader: Reader) -> list[NodeId]:
    """Return the nodes that vote in group 0: the first five; the others learn."""
    return [each.id for each in nodes(reader)][:MANAGEMENT_VOTERS_MAX]


def groups(reader: Reader) -> dict[GroupId, list[NodeId]]:
    """Return the members that each execution group is meant to have."""
    return {
        GroupId(int.from_bytes(key[2:], "big")): [NodeId(each) for each in unpack_record(data)]
        for key, data in reader.scan(b"g/")
    }


def group_of_slot(reader: Reader, slot: int) -> GroupId:
    """Return the execution group that owns ``slot``; slots are dealt round robin, for good."""
    formed = cluster(reader)
    if formed is None:
        raise CorruptionError("group 0 has not formed a cluster")
    return GroupId(1 + slot % formed[1])


def slots_of(group: GroupId, group_count: int) -> bytes:
    """Return the bitmap of the slots that ``group`` owns."""
    bitmap = bytearray(SLOTS // 8)
    for slot in range(group - 1, SLOTS, group_count):
        bitmap[slot // 8] |= 1 << slot % 8
    return bytes(bitmap)


# ------------------------------------------------------------------ applying
class Management:
    """`raftoral.machines.base.StateMachine` of group 0; it keeps no state of its own."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Apply one committed command; see `raftoral.machines.execution.Execution.apply`."""
        now = Millis(max(at, self.clock(txn)))
        txn.put(_CLOCK, now.to_bytes(8, "big"))
        try:
            match commands.decode(command):
                case commands.FormCluster(name, count):
                    return _form(txn, name, count)
                case commands.AddNode() as add:
                    return _add_node(txn, add)
                case commands.MoveNode() as move:
                    return _move_node(txn, move)
                case commands.DeployVersion(definition):
                    return _deploy(txn, index, definition)
                case other:
                    return ["refused", "usage", f"group 0 knows no `{other.tag}`"], ()
        except UsageError as error:
            return ["refused", error.code, str(error)], ()

    def clock(self, reader: Reader) -> Millis:
        """Return the stamp of the newest entry applied."""
        return Millis(int.from_bytes(reader.get(_CLOCK) or b"", "big"))


def _form(txn: Transaction, name: str, count: int) -> tuple[Result, Sequence[Event]]:
    formed = cluster(txn)
    if formed is not None:
        if formed[1] == count:
            return ["ok", formed[0]], ()
        raise UsageError(
            f"this cluster was formed with {formed[1]} execution groups, which is fixed; "
            f"it cannot have {count}. Leave --groups out"
        )
    if not 1 <= count <= GROUPS_MAX:
        raise UsageError(f"a cluster has 1 to {GROUPS_MAX} execution groups, not {count}")
    txn.put(_CLUSTER, pack_record([name, count]))
    for group in range(1, count + 1):
        txn.put(b"g/" + group.to_bytes(4, "big"), pack_record([]))
    return ["ok", name], (TopologyChanged(),)


def _add_node(txn: Transaction, command: commands.AddNode) -> tuple[Result, Sequence[Event]]:
    """Give the next id, and a place in every group that has one free."""
    if not command.nonce:
        raise UsageError("a joining node brings a nonce, so that it may ask again")
    joined = txn.get(b"j/" + command.nonce.encode())
    if joined is not None:
        return ["ok", int.from_bytes(joined, "big")], ()
    if len(command.name) > NAME_LENGTH_MAX or len(command.address) > NAME_LENGTH_MAX:
        raise UsageError(f"a node's name and address have at most {NAME_LENGTH_MAX} characters")
    present = list(nodes(txn))
    new = NodeId(max((each.id for each in present), default=0) + 1)
    name = command.name or f"node-{new}"
    if any(each.name == name for each in present):
        raise UsageError(
            f"a node called {name!r} is in the cluster already; start this one with another --name"
        )
    txn.put(b"j/" + command.nonce.encode(), new.to_bytes(4, "big"))
    _put_node(txn, Node(new, name, command.address, command.http))
    for group, members in groups(txn).items():
        if len(members) < GROUP_MEMBERS_MAX:
            txn.put(b"g/" + group.to_bytes(4, "big"), pack_record([*members, new]))
    return ["ok", new], (TopologyChanged(),)


def _put_node(txn: Transaction, new: Node) -> None:
    record = pack_record([new.name, new.address, new.http])
    txn.put(b"n/" + new.id.to_bytes(4, "big"), record)


def _move_node(txn: Transaction, command: commands.MoveNode) -> tuple[Result, Sequence[Event]]:
    known = node(txn, command.node)
    if known is None:
        raise UsageError(f"no node {command.node} is in the cluster")
    _put_node(txn, Node(known.id, known.name, command.address, command.http))
    return ["ok"], (TopologyChanged(),)


def _deploy(txn: Transaction, index: Index, data: bytes) -> tuple[Result, Sequence[Event]]:
    try:
        definition = Definition.decode(data)
    except CorruptionError as error:
        raise UsageError(str(error)) from None
    added, refusal = catalog.add(txn, definition)
    if refusal:
        return ["refused", "definition_refused", refusal], ()
    return ["ok", added, index], (Deployed(definition),) if added else ()
