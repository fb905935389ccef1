"""Every command that may stand in a log, with its encoding.

A command is a record ``[tag, field, ...]``. `decode` checks the tag and each field's type, so that
`apply` meets well-formed commands only; anything else becomes a refusal, equal on every node.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, get_args, get_origin, get_type_hints

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError

# The field types are read at run time, to check what a log holds.
from raftoral.ids import Epoch, GroupId, Index, NodeId, Position, RunId, Version
from raftoral.values import INT_MAX


@dataclass(frozen=True, slots=True)
class Command:
    """One command; subclasses name their tag and declare their fields in order."""

    tag: ClassVar[str]

    def encode(self) -> bytes:
        """Return the bytes that stand in the log."""
        return pack_record([self.tag, *(getattr(self, name) for name in _FIELDS[type(self)])])


# ------------------------------------------------------------------ groups 1..n
@dataclass(frozen=True, slots=True)
class StartRun(Command):
    """Begin a run, or join it if the same workflow was started with the same input before.

    ``input`` is packed; ``catalog_index`` is the index of group 0 that knew the definition.
    """

    tag = "start"
    run_id: RunId
    name: str
    version: Version
    meaning_hash: str
    input: bytes
    catalog_index: Index


@dataclass(frozen=True, slots=True)
class Settle(Command):
    """Extend a run's history, which is ``base`` events long, in the name of its owner."""

    tag = "settle"
    run_id: RunId
    epoch: Epoch
    base: Position
    events: list[bytes]


@dataclass(frozen=True, slots=True)
class Many(Command):
    """Several commands in one entry, each with a result of its own (group commit across runs)."""

    tag = "many"
    commands: list[bytes]


@dataclass(frozen=True, slots=True)
class Signal(Command):
    """Put a packed payload into a mailbox; the same ``signal_id`` is one signal."""

    tag = "signal"
    run_id: RunId
    name: str
    signal_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Publish(Command):
    """A member tells that it is up (``incarnation`` is new after each start) and can own runs."""

    tag = "publish"
    node: NodeId
    incarnation: str


@dataclass(frozen=True, slots=True)
class TakeOver(Command):
    """``lost`` does not answer: up to ``limit`` of its runs go to those of ``members`` that are up.

    It gets no new ones. The result says how many went; if that is the limit, more may be left.
    """

    tag = "takeover"
    lost: NodeId
    members: list[NodeId]
    limit: int


@dataclass(frozen=True, slots=True)
class HandOver(Command):
    """The owner gives a run away: to ``to``, or (0) because it cannot go on, for ``reason``."""

    tag = "handover"
    run_id: RunId
    epoch: Epoch
    reason: str
    to: NodeId


@dataclass(frozen=True, slots=True)
class OwnSlots(Command):
    """The group owns exactly these slots, a bitmap of 128 bytes."""

    tag = "slots"
    bitmap: bytes


@dataclass(frozen=True, slots=True)
class Forget(Command):
    """Remove what ended before ``before`` (milliseconds) or beyond the ``keep`` newest.

    At most ``limit`` runs; the result says how many.
    """

    tag = "forget"
    before: int
    keep: int
    limit: int


# ------------------------------------------------------------------ group 0
@dataclass(frozen=True, slots=True)
class FormCluster(Command):
    """The first command of a cluster: its id and its fixed number of execution groups."""

    tag = "form"
    cluster: str
    groups: int


@dataclass(frozen=True, slots=True)
class AddNode(Command):
    """Give a node its id. The same ``nonce`` gets the same id, so joining can be repeated."""

    tag = "node"
    nonce: str
    name: str
    address: str
    http: str


@dataclass(frozen=True, slots=True)
class MoveNode(Command):
    """A node is reached at another address, or its HTTP at another."""

    tag = "move"
    node: NodeId
    address: str
    http: str


@dataclass(frozen=True, slots=True)
class RemoveNode(Command):
    """A node is to leave: it gets nothing new, and its places in groups go to some of ``living``."""

    tag = "remove"
    node: NodeId
    living: list[NodeId]


@dataclass(frozen=True, slots=True)
class FillGroups(Command):
    """Give the free places in groups to some of ``living``."""

    tag = "fill"
    living: list[NodeId]


@dataclass(frozen=True, slots=True)
class Placed(Command):
    """A group tells who its members, learners included, are as of an index of its own log."""

    tag = "placed"
    group: GroupId
    index: Index
    members: list[NodeId]


@dataclass(frozen=True, slots=True)
class ForgetNode(Command):
    """A node that leaves is in no execution group any more: the cluster goes on without it."""

    tag = "gone"
    node: NodeId


@dataclass(frozen=True, slots=True)
class DeployVersion(Command):
    """Add a definition (`raftoral.registry.definition.Definition.encode`)."""

    tag = "deploy"
    definition: bytes


_ALL: Final[tuple[type[Command], ...]] = (
    StartRun,
    Settle,
    Many,
    Signal,
    Publish,
    TakeOver,
    HandOver,
    OwnSlots,
    Forget,
    FormCluster,
    AddNode,
    MoveNode,
    RemoveNode,
    FillGroups,
    Placed,
    ForgetNode,
    DeployVersion,
)
_FIELDS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in _ALL}
_BY_TAG: Final = {kind.tag: kind for kind in _ALL}


def _base(hint: Any) -> Any:
    """Return what a field's type is in a record: a plain type, or a tuple of one for a list."""
    if get_origin(hint) is list:
        return (_base(get_args(hint)[0]),)
    return hint if hint is NodeId else getattr(hint, "__supertype__", hint)


_TYPES: Final = {
    kind: tuple(_base(get_type_hints(kind)[name]) for name in _FIELDS[kind]) for kind in _ALL
}


def decode(data: bytes) -> Command:
    """Return the command of log bytes; `UsageError` if they hold none."""
    try:
        tag, *values = unpack_record(data)
        kind = _BY_TAG[tag]
    except (CorruptionError, KeyError, ValueError, TypeError):
        raise UsageError("these bytes hold no command") from None
    types = _TYPES[kind]
    if len(values) != len(types) or not all(map(_fits, values, types)):
        raise UsageError(f"the fields of this `{tag}` command are not what they must be")
    return kind(*values)


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return type(value) is list and all(_fits(each, kind[0]) for each in value)
    if kind is NodeId:
        return type(value) is int and 0 <= value < 2**32  # Ids stand in keys with four bytes.
    return type(value) is kind and (kind is not int or 0 <= value <= INT_MAX)
