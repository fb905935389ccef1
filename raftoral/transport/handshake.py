"""What two nodes say first, and what each has against the other: decisions without a socket.

Nothing but a handshake is read from a connection before the other end is known to be of this
cluster. A node without an id yet, or one that calls an address, comes as a stranger (node 0). With
TLS, a connection is as much worth as the certificate at its other end: the name in the HELLO must be
the certificate's, and the id must be that name's, for the connection and so for all its frames.
"""

from __future__ import annotations

from typing import Final

from raftoral.errors import PeerError
from raftoral.ids import NOBODY, Millis, NodeId
from raftoral.transport.base import NAME_LENGTH_MAX, Local
from raftoral.transport.frame import PROTOCOL_VERSION, Frame, Kind, fields_of, frame_of

STRANGERS_MAX: Final = 64


def hello_frame(local: Local, wall: Millis, *, is_bulk: bool = False) -> Frame:
    """Return the first frame of a node on a connection; ``wall`` is its wall clock."""
    kind = Kind.BULK if is_bulk else Kind.HELLO
    return frame_of(kind, PROTOCOL_VERSION, local.cluster, local.node, local.name, wall)


def read_hello(frame: Frame) -> tuple[int, Local, Millis]:
    """Return protocol version, sender and its wall clock."""
    version, cluster, node, name, wall = fields_of(frame, int, str, int, str, int)
    if node < 0 or max(len(cluster), len(name)) > NAME_LENGTH_MAX:
        raise PeerError("the peer sent a HELLO with fields out of bounds")
    return version, Local(cluster, NodeId(node), name), Millis(wall)


def objection(
    mine: Local, hello: Local, version: int, *, strangers: int, is_bulk: bool
) -> str | None:
    """Return why a dialling node may not come in whoever else is connected, or None.

    ``strangers`` counts those that are connected, this one included.
    """
    match hello:
        case _ if version != PROTOCOL_VERSION:
            return f"it speaks protocol {version}, this node {PROTOCOL_VERSION}"
        case Local(node=0) if is_bulk:
            return "a node without an id sends no snapshots"
        case Local(cluster="", node=0) if strangers <= STRANGERS_MAX:
            return None
        case Local(node=0) if strangers > STRANGERS_MAX:
            return "too many strangers at once; try again"
        case _ if hello.cluster != mine.cluster:
            return f"it is of cluster {hello.cluster!r}, this node of {mine.cluster!r}"
        case Local(node=0):
            return None
        case _ if mine.node == NOBODY:
            return "this node has no id yet"
        case _ if hello.node == mine.node:
            return f"it claims to be node {mine.node}, which is this node"
        case _:
            return None


def impostor(hello: Local, certified: str, known: str | None, *, is_caller: bool) -> str | None:
    """Return why a node with the certificate ``certified`` may not say this hello, or None.

    ``known`` is the name that belongs to the id which it claims, if that is known here. A node that
    ``is_caller`` of an address takes any node there, also one unknown to it.
    """
    if hello.name != certified:
        return (
            f"it calls itself {hello.name!r}, but its certificate is that of {certified!r}; "
            "start it under that name, or issue it its own certificate"
        )
    if hello.node == NOBODY or known == certified or (is_caller and known is None):
        return None
    return (
        f"it claims to be node {hello.node}, which is {known!r}, but its certificate is that of "
        f"{certified!r}; give each node its own data folder and its own certificate"
    )
