"""What one node takes from the machine that it runs on: clocks, chance, network, disk.

Owns the choice between the real ones and those of a simulator; nothing above asks which they are.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from raftoral.groups.clock import SystemClock
from raftoral.ids import NodeId
from raftoral.runtime.watchdog import Watchdog
from raftoral.storage.memory import MemoryNodeStore
from raftoral.storage.rocks import RocksNodeStore
from raftoral.transport.base import Local, Transport
from raftoral.transport.tcp import TcpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.groups.clock import Clock
    from raftoral.runtime.config import NodeConfig
    from raftoral.security.tls import Tls
    from raftoral.storage.base import NodeStore

log = logging.getLogger("raftoral.node")

STEP_SHARE: Final = 0.8
"""How much of the shortest election timeout one step of a workflow may take."""


class Network(Transport, Protocol):
    """A transport that asks who is who; see `raftoral.transport.tcp`."""

    name_of: Callable[[NodeId], str | None]
    on_unknown: Callable[[NodeId], None]
    is_removed: Callable[[NodeId], object]
    on_expelled: Callable[[], None]

    def names_changed(self) -> None:
        """Look again at which node has which name."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The machine around one node. ``unique`` makes a text that nobody makes again."""

    clock: Clock
    chance: Callable[[int], int]
    unique: Callable[[], str]
    watchdog: Watchdog
    transport: Network
    open_store: Callable[[], NodeStore]


def real_parts(config: NodeConfig, tls: Tls | None) -> Parts:
    """Return the clock, the chance, the sockets and the disk of this machine."""
    clock = SystemClock()
    chance = random.SystemRandom().randrange

    def open_store() -> NodeStore:
        if config.data is None:
            log.warning("no data folder is given: this node keeps everything in memory only")
            return MemoryNodeStore()
        return RocksNodeStore(config.data)

    return Parts(
        clock,
        chance,
        lambda: uuid4().hex[:12],
        Watchdog(STEP_SHARE * config.election_timeout_s),
        TcpTransport(
            Local("", NodeId(0), config.name),
            config.listen,
            wall=clock.wall,
            chance=chance,
            tls=tls,
        ),
        open_store,
    )
