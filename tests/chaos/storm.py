"""What happens to five nodes and the lines between them, and what must hold afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.checks import Findings, verify
from tests.chaos.clients import Caller, Ids, finish
from tests.chaos.netns import Network, Spread
from tests.chaos.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from tests.bench.processes import Member

CLIENTS = 5
HEALED_SECONDS_MAX = 60.0


@dataclass
class Storm:
    """Trouble of many kinds, one after the other, each of a few seconds."""

    cluster: Spread
    network: Network
    random: Random
    count: Counter[str] = field(default_factory=Counter)

    def until(self, end: float) -> None:
        """Bring trouble until ``end`` on the monotonic clock; then all is well again."""
        kinds: list[tuple[str, Callable[[Member], None]]] = [
            ("two-way partition", self._partition),
            ("one-way partition, nothing goes out", self._mute),
            ("one-way partition, nothing comes in", self._deafen),
            ("minority of two cut off", self._minority),
            ("line that flaps", self._flap),
            ("kill -9", self._kill),
            ("stop", self._stop),
            ("bad lines", self._degrade),
        ]
        self._calm()
        # Each kind comes before any comes again, and the leader is struck first.
        turns: list[tuple[str, Callable[[Member], None]]] = []
        while time.monotonic() < end:
            turns = turns or self.random.sample(kinds, len(kinds))
            name, strike = turns.pop()
            leader = self.cluster.leader(self.random.choice((0, 1)))
            victim = leader if self.random.random() < 0.7 else None
            strike(victim or self.random.choice(self.cluster.members))
            self.count[name] += 1
            self.network.mend()
            self._calm()
            time.sleep(self.random.uniform(0.2, 1.5))

    def _calm(self) -> None:
        self.network.degrade(loss=0.005, delay_ms=2, jitter_ms=2)

    def _wait(self, least: float = 1.0, most: float = 3.0) -> None:
        time.sleep(self.random.uniform(least, most))

    # -------------------------------------------------------------- the lines
    def _partition(self, victim: Member) -> None:
        self.network.cut({victim.number})
        self._wait()

    def _mute(self, victim: Member) -> None:
        self.network.cut({victim.number}, into=False)
        self._wait()

    def _deafen(self, victim: Member) -> None:
        self.network.cut({victim.number}, out=False)
        self._wait()

    def _minority(self, victim: Member) -> None:
        other = self.random.choice([each for each in self.cluster.members if each is not victim])
        self.network.cut({victim.number, other.number})
        self._wait()

    def _flap(self, victim: Member) -> None:
        for _ in range(3):
            self.network.cut({victim.number})
            time.sleep(0.5)
            self.network.mend()
            time.sleep(0.5)

    def _degrade(self, _victim: Member) -> None:
        self.network.degrade(loss=0.05, delay_ms=50, jitter_ms=25)
        self._wait(2.0, 4.0)

    # -------------------------------------------------------------- the nodes
    def _kill(self, victim: Member) -> None:
        victim.kill()
        self._wait()
        victim.start()
        victim.wait_ready(self.cluster.client)

    def _stop(self, victim: Member) -> None:
        assert victim.process is not None
        victim.process.send_signal(signal.SIGSTOP)
        self._wait(2.0, 5.0)
        victim.process.send_signal(signal.SIGCONT)


@dataclass
class Holders:
    """The nodes that hold the runs."""

    members: list[Member]
    client: httpx.Client


def weather(seconds: float, seed: int, folder: Path) -> tuple[Storm, Record, Findings]:
    """Let five nodes in five namespaces have trouble for so long; return all that was found."""
    journal = folder / "journal"
    journal.touch()
    record, ids, over = Record(), Ids(seed), threading.Event()
    environment = {"CHAOS_JOURNAL": str(journal), "RAFTORAL_LOG": "warning"}
    with Network(seed) as network, Spread(folder, network, environment) as cluster:
        urls = [member.url for member in cluster.members]
        callers = [Caller(number, urls, ids, record, over) for number in range(CLIENTS)]
        storm = Storm(cluster, network, Random(seed))
        for caller in callers:
            caller.start()
        try:
            storm.until(time.monotonic() + seconds)
        finally:
            over.set()
            for caller in callers:
                caller.join(30)
        for caller in callers:
            if caller.problem is not None:
                raise caller.problem
        cluster.wait_full(HEALED_SECONDS_MAX)
        runs = finish(cluster.members[0].url, ids, record)
        holders = Holders(cluster.holders(1), cluster.client)
        findings = verify(holders, record, runs, journal)
    return storm, record, findings
