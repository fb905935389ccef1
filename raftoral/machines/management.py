"""The state machine of group 0: nodes, groups, the slot table, and the registry of definitions.

It never sees the state of a run. `apply` is total: a bad command is a refusal. Keys: ``C`` cluster,
``n/<id>`` nodes, ``q/<id>`` those of them that are to leave, ``x/<id>`` nodes that are gone,
``j/<nonce>`` joins, ``g/<id>`` the members that a group is meant to have, ``a/<id>`` those that it
had when it last told, ``d/...`` definitions, ``c`` clock.

A node leaves in three steps, so that whoever leads can go on with it at any time: it is marked
(`RemoveNode`), the groups change their members and tell so (`Placed`), and once no execution group
has it any more, it is forgotten (`ForgetNode`). Its id stays known as gone, and is never given again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import MANAGEMENT, SLOTS, GroupId, Index, Millis, NodeId
from raftoral.machines import commands
from raftoral.registry import catalog
from raftoral.registry.definition import Definition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

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
    """A node came, moved or is to leave, or a group is meant to have other members."""


@dataclass(frozen=True, slots=True)
class NodeForgotten:
    """A node left the cluster for good."""

    node: NodeId


Event: TypeAlias = Deployed | TopologyChanged | NodeForgotten


# ------------------------------------------------------------------ reading
def cluster(reader: Reader) -> tuple[str, int] | None:
    """Return the cluster's id and its number of execution groups; None before it is formed."""
    data = reader.get(_CLUSTER)
    if data is None:
        return None
    name, groups = unpack_record(data)
    return name, groups


def nodes(reader: Reader) -> Iterator[Node]:
    """Yield every node, also one that is to leave, by id."""
    return map(_node_of, reader.scan(b"n/"))


def _node_of(pair: tuple[bytes, bytes]) -> Node:
    name, address, http = unpack_record(pair[1])
    return Node(NodeId(int.from_bytes(pair[0][2:], "big")), name, address, http)


def node(reader: Reader, node_id: NodeId) -> Node | None:
    """Return one node, or None."""
    return next((each for each in nodes(reader) if each.id == node_id), None)


def leaving(reader: Reader) -> list[NodeId]:
    """Return the nodes that are to leave and have not left yet."""
    return [NodeId(int.from_bytes(key[2:], "big")) for key, _ in reader.scan(b"q/")]


def staying(reader: Reader) -> list[NodeId]:
    """Return the nodes that are not to leave, by id."""
    going = leaving(reader)
    return [each.id for each in nodes(reader) if each.id not in going]


def gone(reader: Reader) -> dict[NodeId, Node]:
    """Return the nodes that have left, as they were known."""
    return {each.id: each for each in map(_node_of, reader.scan(b"x/"))}


def is_gone(reader: Reader, node_id: NodeId) -> bool:
    """Tell whether the node was in the cluster and has left."""
    return reader.get(b"x/" + node_id.to_bytes(4, "big")) is not None


def management_voters(reader: Reader) -> list[NodeId]:
    """Return the nodes that are to vote in group 0: the first five that stay; the others learn."""
    return staying(reader)[:MANAGEMENT_VOTERS_MAX]


def groups(reader: Reader) -> dict[GroupId, list[NodeId]]:
    """Return the members that each execution group is meant to have."""
    return {
        GroupId(int.from_bytes(key[2:], "big")): [NodeId(each) for each in unpack_record(data)]
        for key, data in reader.scan(b"g/")
    }


def placed(reader: Reader, group: GroupId) -> tuple[Index, list[NodeId]] | None:
    """Return which members a group last told, as of which index of its log; None before it did."""
    data = reader.get(b"a/" + group.to_bytes(4, "big"))
    if data is None:
        return None
    index, members = unpack_record(data)
    return Index(index), [NodeId(each) for each in members]


def is_placed(reader: Reader, node_id: NodeId) -> bool:
    """Tell whether an execution group has the node as a member, or may have."""
    return any(
        node_id in members or (told := placed(reader, group)) is None or node_id in told[1]
        for group, members in groups(reader).items()
    )


def after_removal(
    reader: Reader, node_id: NodeId, living: Collection[NodeId]
) -> dict[GroupId, list[NodeId]]:
    """Return who the groups, group 0 among them, are meant to have without a node.

    Free places go to those of ``living`` that stay, each to the one with the fewest places.
    """
    rest = [each for each in staying(reader) if each != node_id]
    without = {
        group: [each for each in members if each != node_id]
        for group, members in groups(reader).items()
    }
    filled = _filled(without, [each for each in rest if each in living])
    return {MANAGEMENT: rest[:MANAGEMENT_VOTERS_MAX], **filled}


def _filled(
    meant: dict[GroupId, list[NodeId]], candidates: Sequence[NodeId]
) -> dict[GroupId, list[NodeId]]:
    """Give free places to ``candidates``: the fewest places first, then the lowest id."""
    load = Counter(each for members in meant.values() for each in members)
    filled = {}
    for group, members in meant.items():
        filled[group] = members = list(members)
        while len(members) < GROUP_MEMBERS_MAX:
            free = [each for each in candidates if each not in members]
            if not free:
                break
            chosen = min(free, key=lambda each: (load[each], each))
            load[chosen] += 1
            members.append(chosen)
    return filled


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
                case commands.RemoveNode() as remove:
                    return _remove_node(txn, remove)
                case commands.FillGroups(living):
                    return _fill_groups(txn, living)
                case commands.Placed() as told:
                    return _place(txn, told)
                case commands.ForgetNode(node_id):
                    return _forget_node(txn, node_id)
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
        known = NodeId(int.from_bytes(joined, "big"))
        if is_gone(txn, known):
            raise UsageError(
                f"the node of this data folder, {known}, was removed from the cluster; start with "
                "an empty --data folder to join as a new node"
            )
        return ["ok", known], ()
    if len(command.name) > NAME_LENGTH_MAX or len(command.address) > NAME_LENGTH_MAX:
        raise UsageError(f"a node's name and address have at most {NAME_LENGTH_MAX} characters")
    present = list(nodes(txn))
    new = NodeId(max((*(each.id for each in present), *gone(txn)), default=0) + 1)
    name = command.name or f"node-{new}"
    if any(each.name == name for each in present):
        raise UsageError(
            f"a node called {name!r} is in the cluster already; start this one with another --name"
        )
    txn.put(b"j/" + command.nonce.encode(), new.to_bytes(4, "big"))
    _put_node(txn, Node(new, name, command.address, command.http))
    _put_groups(txn, _filled(groups(txn), [new]))
    return ["ok", new], (TopologyChanged(),)


def _put_groups(txn: Transaction, meant: dict[GroupId, list[NodeId]]) -> None:
    for group, members in meant.items():
        txn.put(b"g/" + group.to_bytes(4, "big"), pack_record(members))


def _put_node(txn: Transaction, new: Node) -> None:
    record = pack_record([new.name, new.address, new.http])
    txn.put(b"n/" + new.id.to_bytes(4, "big"), record)


def _move_node(txn: Transaction, command: commands.MoveNode) -> tuple[Result, Sequence[Event]]:
    known = node(txn, command.node)
    if known is None:
        raise UsageError(f"no node {command.node} is in the cluster")
    _put_node(txn, Node(known.id, known.name, command.address, command.http))
    return ["ok"], (TopologyChanged(),)


# ------------------------------------------------------------------ leaving
def _remove_node(txn: Transaction, command: commands.RemoveNode) -> tuple[Result, Sequence[Event]]:
    """Mark a node as one that is to leave, and give its places to others."""
    if is_gone(txn, command.node):
        return ["ok", "gone"], ()
    if node(txn, command.node) is None:
        raise UsageError(f"no node {command.node} is in the cluster; `raftoral nodes` lists them")
    if command.node in leaving(txn):
        return ["ok", "leaving"], ()
    if staying(txn) == [command.node]:
        raise UsageError(
            f"node {command.node} is the last one that stays, and a cluster needs one; to give the "
            "cluster up, stop it and delete its data folder"
        )
    after = after_removal(txn, command.node, command.living)
    del after[MANAGEMENT]
    _put_groups(txn, after)
    txn.put(b"q/" + command.node.to_bytes(4, "big"), b"")
    return ["ok", "leaving"], (TopologyChanged(),)


def _fill_groups(txn: Transaction, living: list[NodeId]) -> tuple[Result, Sequence[Event]]:
    before = groups(txn)
    filled = _filled(before, [each for each in staying(txn) if each in living])
    _put_groups(txn, filled)
    return ["ok"], (TopologyChanged(),) if filled != before else ()


def _place(txn: Transaction, command: commands.Placed) -> tuple[Result, Sequence[Event]]:
    """Note who is in a group, unless that is older than what is known."""
    if command.group not in groups(txn):
        raise UsageError(f"no execution group {command.group} is in the cluster")
    told = placed(txn, command.group)
    if told is not None and command.index <= told[0]:
        return ["refused", "stale", "the members of a later index are known"], ()
    record = pack_record([command.index, sorted(set(command.members))])
    txn.put(b"a/" + command.group.to_bytes(4, "big"), record)
    return ["ok"], ()


def _forget_node(txn: Transaction, node_id: NodeId) -> tuple[Result, Sequence[Event]]:
    if is_gone(txn, node_id):
        return ["ok"], ()
    key = node_id.to_bytes(4, "big")
    record = txn.get(b"n/" + key)
    if record is None or node_id not in leaving(txn) or is_placed(txn, node_id):
        return ["refused", "stale", f"node {node_id} is in a group, or is not to leave"], ()
    txn.put(b"x/" + key, record)
    txn.delete(b"n/" + key)
    txn.delete(b"q/" + key)
    return ["ok"], (TopologyChanged(), NodeForgotten(node_id))


def _deploy(txn: Transaction, index: Index, data: bytes) -> tuple[Result, Sequence[Event]]:
    try:
        definition = Definition.decode(data)
    except CorruptionError as error:
        raise UsageError(str(error)) from None
    added, refusal = catalog.add(txn, definition)
    if refusal:
        return ["refused", "definition_refused", refusal], ()
    return ["ok", added, index], (Deployed(definition),) if added else ()
