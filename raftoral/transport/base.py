"""What a transport promises.

Owns the interface between `groups` and the wire, and what a node says of itself in a handshake.
The rules: `send` never blocks and never raises for a peer's sake; frames to one peer arrive in
order or not at all; a lost connection is told by `on_peer_down` before `on_peer_up` tells of the
next one. SNAPSHOT frames to a peer have an order of their own, and a connection of their own where
there are any, so that nothing waits behind them. All of it runs in the node's event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from raftoral.ids import Millis, NodeId
from raftoral.values import Value

if TYPE_CHECKING:
    from raftoral.transport.frame import Frame

Handler: TypeAlias = Callable[[NodeId, Value], Awaitable[Value]]
"""Answers one call; the sender is 0 for a stranger that has no id yet."""

NAME_LENGTH_MAX: Final = 200
"""Most characters in the name of a node or a cluster; a handshake with longer ones is refused."""

REMOVED: Final = "it was removed from the cluster"
"""Why a node that left is let in no more; it stops when a peer tells it so."""

CERTIFIED: Final[ContextVar[str]] = ContextVar("CERTIFIED", default="")
"""Inside a handler: the node that the caller's certificate names; empty without TLS."""


@dataclass(frozen=True, slots=True)
class Local:
    """What this node says of itself; a joiner has node 0 and, if it must ask, cluster ``""``."""

    cluster: str
    node: NodeId
    name: str


class Transport(Protocol):
    """Frames and calls between nodes; see the module for what holds of all of them."""

    on_frame: Callable[[NodeId, Frame], None]
    on_read: Callable[[], None]
    """Follows the frames of each read."""
    on_peer_up: Callable[[NodeId, Millis], None]
    """A peer is connected; with its wall clock as of the handshake."""
    on_peer_down: Callable[[NodeId], None]

    @property
    def local(self) -> Local:
        """What this node says of itself."""
        ...

    @property
    def address(self) -> str:
        """Where others reach this node, ``host:port``."""
        ...

    async def start(self) -> None:
        """Begin to listen; `UsageError` if the address cannot be used."""
        ...

    async def close(self) -> None:
        """Close everything; calls that wait end with an error."""
        ...

    def become(self, local: Local) -> None:
        """Take the id and the cluster that a joiner was given; connections begin anew."""
        ...

    def send(self, to: NodeId, frame: Frame) -> bool:
        """Queue a frame; False if it was dropped: not connected, or the queue is full."""
        ...

    def set_bulk(self, peers: Collection[NodeId]) -> None:
        """Say who is sent SNAPSHOT frames for now; with others no connection is kept for them."""
        ...

    def bulk(self, node: NodeId) -> object | None:
        """Return the connection for SNAPSHOT frames to ``node``; None if there is none, or not yet.

        Another one than before tells that what was on its way may be lost.
        """
        ...

    def flush(self) -> None:
        """Write what is queued, one write a peer."""
        ...

    def has_more(self) -> bool:
        """Whether more waits to be read, from any peer, so that `on_read` follows again at once."""
        ...

    def set_peers(self, peers: Mapping[NodeId, str]) -> None:
        """Say who else is in the cluster and where; connections to others are closed."""
        ...

    def connected(self) -> list[NodeId]:
        """Return the peers that can be sent to, ascending."""
        ...

    def hang_up(self, node: NodeId) -> None:
        """Close the connection to a peer that fell silent; it is dialled again."""
        ...

    async def call(self, target: NodeId | str, method: str, body: Value, timeout: float) -> Value:
        """Ask a node (by id, or ``host:port`` for one without a known id) and return its answer.

        A node may ask itself by its id: the handler is called, with no wire between.
        ``timeout`` is in seconds. Raises the handler's own error; `Unavailable` if the request
        did not leave this node; `ProposalUnknown` if it left and no answer came.
        """
        ...

    def serve(self, method: str, handler: Handler, *, open_to_strangers: bool = False) -> None:
        """Answer calls of ``method``; strangers reach only what is open to them."""
        ...
