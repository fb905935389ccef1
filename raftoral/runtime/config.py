"""Every knob of a node, with its unit and its default."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from raftoral.errors import UsageError
from raftoral.transport.addresses import is_loopback, split_address

if TYPE_CHECKING:
    from raftoral.security.tls import TlsFiles

LOST_AFTER_MIN: Final = timedelta(seconds=10)
"""A node that restarts, or whose machine is busy, must not be taken for lost."""

LISTEN: Final = "127.0.0.1:7400"
HTTP: Final = "127.0.0.1:7480"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How one node runs.

    ``data`` None keeps everything in memory (and says so). ``groups`` counts execution groups; it
    is fixed when the first node forms the cluster, and None means 1 then and "whatever it is" ever
    after. ``retention`` is how long a finished run keeps its result and history. With ``tls`` peers
    talk by TLS 1.3, and the node's name is that of its certificate. A node that is to leave has
    ``leave_grace`` to end the attempts that it makes; then others make them again. With
    ``remove_lost_after``, which should be the same on all nodes, one that is not heard for so long
    is removed from the cluster, if others can take all its places.
    Plain activities run in up to ``activity_threads`` threads; those that ask for a process in up
    to ``activity_processes``, started when needed, as many as processors by default.
    """

    data: str | None = None
    listen: str = LISTEN
    advertise: str = ""
    http: str = ""
    join: tuple[str, ...] = ()
    groups: int | None = None
    name: str = ""
    insecure: bool = False
    tls: TlsFiles | None = None
    tick_ms: int = 50
    heartbeat_ticks: int = 2
    election_ticks: int = 10
    request_timeout_s: float = 10.0
    join_timeout_s: float = 20.0
    retention: timedelta = timedelta(days=7)
    retained_runs: int = 100_000
    activity_threads: int = 32
    activity_processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    leave_grace: timedelta = timedelta(seconds=30)
    remove_lost_after: timedelta | None = None

    @property
    def election_timeout_s(self) -> float:
        """The shortest time without a leader after which a node campaigns."""
        return self.tick_ms * self.election_ticks / 1000

    @property
    def reachable_at(self) -> str:
        """The address that other nodes use."""
        return self.advertise or self.listen

    def checked(self) -> NodeConfig:
        """Return this configuration, or raise `UsageError` that says what to change."""
        for address in (self.listen, *self.join, *filter(None, (self.advertise,))):
            split_address(address)
        if self.groups is not None and not 1 <= self.groups <= 256:
            raise UsageError(f"--groups is 1 to 256, not {self.groups}")
        lost = self.remove_lost_after
        if lost is not None and lost < LOST_AFTER_MIN:
            raise UsageError(
                f"--remove-lost-after is at least {LOST_AFTER_MIN.total_seconds():g} seconds, not "
                f"{lost.total_seconds():g}: a node that restarts is not lost"
            )
        if (
            self.tls is None
            and not self.insecure
            and not is_loopback(split_address(self.listen)[0])
        ):
            raise UsageError(
                f"{self.listen} is not a loopback address, and peers would talk in the clear. "
                "Give the node a certificate by --tls (see `raftoral certs`), listen on 127.0.0.1, "
                "or say --insecure if the network is trusted"
            )
        return self
