"""Kills and stops of the nodes that matter most, and how long each is felt."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from tests.bench.processes import Cluster, Member

EVERY_SECONDS = 2.0
AWAY_SECONDS = 1.4
TAKEOVER_SECONDS_MAX = 15.0


@dataclass
class Blow:
    """One kill or stop: whom, when, and when its runs had another owner or had ended."""

    victim: int
    why: str
    how: str
    at: float
    orphans: int = 0
    taken_over_after: float | None = None


@dataclass
class Trouble:
    """Strikes every two seconds until told otherwise, and mends what it broke."""

    cluster: Cluster
    random: Random = field(default_factory=lambda: Random(1))
    blows: list[Blow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = httpx.Client(timeout=1.0, trust_env=False)

    def until(self, end: float) -> None:
        """Strike until ``end`` on the monotonic clock; every node runs again afterwards."""
        with self._client:
            while time.monotonic() < end:
                begun = time.monotonic()
                self.strike()
                time.sleep(max(0.0, begun + EVERY_SECONDS - time.monotonic()))

    def strike(self) -> None:
        """Kill or stop the leader of group 1 or the owner of most runs; bring it back."""
        why = self.random.choice(("leader", "owner"))
        victim = self._leader() if why == "leader" else self._owner()
        if victim is None:
            return
        helper = next(each for each in self.cluster.members if each is not victim)
        orphans = {
            run["id"]: run["epoch"]
            for run in self._runs(helper)
            if run["owner"] == victim.number and run["status"] == "running"
        }
        assert victim.process is not None
        if self.random.random() < 0.25:
            blow = Blow(victim.number, why, "stopped", time.monotonic(), len(orphans))
            victim.process.send_signal(signal.SIGSTOP)
        else:
            blow = Blow(victim.number, why, "killed", victim.kill(), len(orphans))
        self.blows.append(blow)
        self._watch(helper, blow, orphans, blow.at + AWAY_SECONDS)
        if blow.how == "stopped":
            victim.process.send_signal(signal.SIGCONT)
        else:
            victim.start()
            victim.wait_ready(self.cluster.client)
        self._watch(helper, blow, orphans, blow.at + TAKEOVER_SECONDS_MAX)

    def _watch(self, helper: Member, blow: Blow, orphans: dict[str, int], until: float) -> None:
        """Note when no orphan stands as it did; return at ``until``, or then if that is later."""
        while blow.taken_over_after is None and time.monotonic() < until:
            runs = {run["id"]: run for run in self._runs(helper, "running")}
            at = time.monotonic()
            left = [
                run_id
                for run_id, epoch in orphans.items()
                if run_id in runs and runs[run_id]["epoch"] == epoch
            ]
            if not left and (runs or not orphans):
                blow.taken_over_after = at - blow.at
            time.sleep(0.03)
        if blow.how == "stopped" or blow.taken_over_after is not None:
            time.sleep(max(0.0, min(until, blow.at + AWAY_SECONDS) - time.monotonic()))

    # -------------------------------------------------------------- who
    def _leader(self) -> Member | None:
        for member in self.random.sample(self.cluster.members, 3):
            view = self._get(member, "/v1/status")
            for group in view["groups"] if view else ():
                if group["id"] == 1 and group["leader"]:
                    return self._member(group["leader"])
        return None

    def _owner(self) -> Member | None:
        for member in self.random.sample(self.cluster.members, 3):
            owners = Counter(run["owner"] for run in self._runs(member, "running") if run["owner"])
            if owners:
                return self._member(owners.most_common(1)[0][0])
        return self._leader()

    def _member(self, number: int) -> Member:
        return next(each for each in self.cluster.members if each.number == number)

    def _runs(self, member: Member, status: str = "") -> list[dict[str, Any]]:
        query = f"?limit=200{'&status=' if status else ''}{status}"
        view = self._get(member, f"/v1/runs{query}")
        return view["runs"] if view else []

    def _get(self, member: Member, path: str) -> Any:
        try:
            answer = self._client.get(member.url + path)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None


def gaps(blows: list[Blow], writes: list[float], end: float) -> list[float]:
    """Return for each blow the longest time without an acknowledged write until the next one."""
    found = []
    moments = sorted(writes)
    for number, blow in enumerate(blows):
        until = blows[number + 1].at if number + 1 < len(blows) else end
        inside = [at for at in moments if blow.at <= at <= until]
        edges = [blow.at, *inside, until]
        found.append(max(after - before for before, after in pairwise(edges)))
    return found


def quantile(values: list[float], part: float) -> float:
    """Return the value that ``part`` of all values do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
