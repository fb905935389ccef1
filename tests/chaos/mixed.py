"""Chaos over workflows: sagas, fan-outs, timers, signals and children while nodes are killed.

Callers start, signal, cancel and look; a leader or an owner is killed every two seconds. Afterwards
every run must have ended, with one history on all nodes, each step settled once and attempted
before, and everything that was acknowledged in it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from raftoral.replay.history import (
    Asked,
    CancelAsked,
    ChildAsked,
    ChildDone,
    Closed,
    Done,
    Ended,
    Opened,
    Started,
    Taken,
    TimerFired,
    decode,
)
from raftoral.sim.linearizability import Verdict
from raftoral.sim.stack.flows import FLOWS, SIGNALLED
from tests.chaos.checks import Findings, local_copy
from tests.chaos.clients import Caller, Ids

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.bench.processes import Cluster
    from tests.chaos.record import Record

END_SECONDS_MAX = 90.0
ONCE = (Asked, Done, TimerFired, Opened, Closed, ChildAsked, ChildDone, Taken)


class MixedIds(Ids):
    """Run ids over the whole mix."""

    def new(self) -> str:
        """Return an id that nobody has."""
        with self._lock:
            run_id = f"run-{len(self.inputs)}"
            self.inputs[run_id] = (
                self._random.choice(FLOWS).name,
                {"n": self._random.randrange(12)},
            )
            return run_id


class MixedCaller(Caller):
    """One client of the mix."""

    def one(self, client: httpx.Client, url: str) -> None:
        """Ask for one thing."""
        draw = self._random.random()
        if draw < 0.30:
            self.do_start(client, url, self._ids.new())
        elif draw < 0.45:
            self.do_start(client, url, self._ids.some(self._random))
        elif draw < 0.65:
            run_id = self._ids.some(self._random)
            if self._ids.inputs[run_id][0] in SIGNALLED:
                self.do_signal(client, url, run_id, self._random.randrange(3))
        elif draw < 0.70:
            self.do_cancel(client, url, self._ids.some(self._random))
        elif draw < 0.95:
            self.do_look(client, url, self._ids.some(self._random), self._random.choice((0, 300)))
        else:
            self.do_list(client, url)

    def do_cancel(self, client: httpx.Client, url: str, run_id: str) -> None:
        """Ask a run to stop."""
        self._record.begin(self.number, "list", "look")
        answer = self._ask(
            client, "POST", f"{url}/v1/runs/{run_id}/cancel", json={"reason": "chaos"}
        )
        if answer is not None:
            self._record.give_up(self.number, was_sent=False)
            assert answer.status_code in (200, 204, 404, 409), answer.text


def finish(cluster: Cluster) -> list[str]:
    """Wait until every run has ended; return the ids of all runs, children too."""
    until = time.monotonic() + END_SECONDS_MAX
    url = cluster.members[0].url
    while time.monotonic() < until:
        live = [
            run
            for status in ("running", "parked", "paused")
            for run in cluster.client.get(
                f"{url}/v1/runs", params={"status": status, "limit": 200}
            ).json()["runs"]
        ]
        if not live:
            break
        time.sleep(0.2)
    else:
        raise AssertionError(f"{len(live)} runs have not ended: {live[:3]}")
    found: list[str] = []
    page = cluster.client.get(f"{url}/v1/runs", params={"limit": 200}).json()
    while True:
        found += [run["id"] for run in page["runs"]]
        if not page.get("after"):
            return found
        page = cluster.client.get(
            f"{url}/v1/runs", params={"limit": 200, "after": page["after"]}
        ).json()


def verify(cluster: Cluster, record: Record, runs: list[str], journal: Path) -> Findings:
    """Compare what clients were told with what each node holds, ``runs`` being all there are."""
    found = Findings(verdict=Verdict.YES)
    attempts = Counter(journal.read_text(encoding="utf-8").splitlines())
    known = set(runs)
    found.lost += [f"run {run_id}" for run_id in sorted(record.started.keys() - known)]
    for run_id in sorted(known):
        copies = [local_copy(cluster, number, run_id) for number in range(len(cluster.members))]
        if any(copy is None for copy in copies):
            found.lost.append(f"{run_id} has not ended on each node")
            continue
        if any(copy != copies[0] for copy in copies):
            found.wrong.append(f"the nodes hold different histories of {run_id}")
        events = [decode(data) for data in copies[0] or ()]
        _check(run_id, events, attempts, known, found)
        _check_signals(run_id, events, record, found)
    found.wrong += [f"{run_id} was shown with two ends" for run_id in record.contradictions]
    found.wrong += [
        f"{line.removeprefix('fragile ')} was attempted {times} times"
        for line, times in attempts.items()
        if line.startswith("fragile ") and times > 1
    ]
    return found


def _check(
    run_id: str, events: list[Any], attempts: Counter[str], known: set[str], found: Findings
) -> None:
    first, last = events[0], events[-1]
    if not isinstance(first, Started) or not isinstance(last, Ended):
        found.wrong.append(f"{run_id} has no beginning or no end: {first} ... {last}")
        return
    settled = Counter((type(each).__name__, each.path) for each in events if isinstance(each, ONCE))
    for (kind, path), times in settled.items():
        if times > 1:
            found.wrong.append(f"{run_id}/{path}: {kind} is settled {times} times")
    for event in events:
        if isinstance(event, Done):
            found.steps += 1
            key = f"{run_id}/{first.generation}/{event.path}"
            if event.ok and not attempts[f"work {key}"] + attempts[f"fragile {key}"]:
                found.wrong.append(f"{key} is done and was never attempted")
        if isinstance(event, ChildAsked) and event.id not in known:
            found.wrong.append(f"{run_id} asked for {event.id}, which is not there")
    if last.status == "failed":
        found.wrong.append(f"{run_id} failed: {last.value}")
    if last.status == "cancelled" and not any(isinstance(each, CancelAsked) for each in events):
        found.wrong.append(f"{run_id} was cancelled and nobody had asked for it")


def _check_signals(run_id: str, events: list[Any], record: Record, found: Findings) -> None:
    taken = [each.signal_id for each in events if isinstance(each, Taken)]
    if len(set(taken)) != len(taken):
        found.wrong.append(f"{run_id} took a signal twice: {taken}")


def divergences(cluster: Cluster) -> int:
    """Return how often a node logged that a replay found another history than its own."""
    return sum(
        member.log.read_text(encoding="utf-8", errors="replace").count("history has")
        for member in cluster.members
    )
