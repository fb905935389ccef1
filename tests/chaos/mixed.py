"""Chaos over workflows: sagas, fan-outs, timers, signals and children while nodes are killed.

Callers start, signal, update, pause, cancel, look and read; a leader or an owner is killed every two
seconds. Afterwards every run must have ended, with one history on all nodes, each step settled once
and attempted before, and everything that was acknowledged in it; and what each run was asked and
answered must fit one order (`tests.chaos.mixed_model`).
"""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from raftoral.replay.history import (
    CancelAsked,
    ChildAsked,
    Done,
    Ended,
    Started,
    Taken,
    Updated,
    decode,
)
from raftoral.sim.stack.flows import FLOWS, SIGNALLED
from raftoral.sim.stack.promises import ONCE
from tests.chaos.checks import Findings, judge, local_copy
from tests.chaos.clients import Caller, Ids
from tests.chaos.mixed_model import DONE, Seen, Standing, mixed_model
from tests.chaos.record import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path
    from random import Random

    import httpx

    from tests.bench.processes import Cluster
    from tests.chaos.record import Record

END_SECONDS_MAX = 90.0
TURNS = 10
"""How many signals and updates a ledger takes."""
LEDGERS = 4
"""So many of the newest ledgers are asked."""
LAST = 1_000
"""Who asks when the trouble is over."""


class MixedIds(Ids):
    """Run ids over the whole mix, and those of ledgers."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.ledgers: list[str] = []

    def new(self) -> str:
        """Return an id that nobody has."""
        with self._lock:
            run_id = f"run-{len(self.inputs)}"
            self.inputs[run_id] = (
                self._random.choice(FLOWS).name,
                {"n": self._random.randrange(12)},
            )
            return run_id

    def ledger(self, random: Random) -> str:
        """Return one of the newest ledgers, seldom a new one."""
        with self._lock:
            if not self.ledgers or random.random() < 0.02:
                self.ledgers.append(f"ledger-{len(self.ledgers)}")
                self.inputs[self.ledgers[-1]] = ("chaos.ledger", {"turns": TURNS})
            return random.choice(self.ledgers[-LEDGERS:])


class MixedCaller(Caller):
    """One client of the mix."""

    _ids: MixedIds

    def one(self, client: httpx.Client, url: str) -> None:
        """Ask for one thing."""
        draw = self._random.random()
        if draw < 0.20:
            self.do_start(client, url, self._ids.new())
        elif draw < 0.30:
            self.do_start(client, url, self._ids.some(self._random))
        elif draw < 0.45:
            run_id = self._ids.some(self._random)
            if self._ids.inputs[run_id][0] in SIGNALLED:
                self.do_signal(client, url, run_id, self._random.randrange(3))
        elif draw < 0.48:
            self.do_change(client, url, self._ids.some(self._random), "cancel", 0)
        elif draw < 0.63:
            self.do_look(client, url, self._ids.some(self._random), self._random.choice((0, 300)))
        elif draw < 0.65:
            self.do_list(client, url)
        else:
            self.one_of_ledger(client, url, self._ids.ledger(self._random))

    def one_of_ledger(self, client: httpx.Client, url: str, run_id: str) -> None:
        """Ask a ledger for one thing. Each id is used again and again, also long afterwards."""
        draw, number = self._random.random(), self._random.randrange(TURNS)
        if draw < 0.10:
            self.do_start(client, url, run_id)
        elif draw < 0.30:
            self.do_signal(client, url, run_id, number)
        elif draw < 0.50:
            self.do_update(client, url, run_id, number)
        elif draw < 0.65:
            self.do_query(client, url, run_id)
        elif draw < 0.80:
            self.do_history(client, url, run_id)
        elif draw < 0.84:
            self.do_change(client, url, run_id, "pause", number)
        elif draw < 0.92:
            self.do_change(client, url, run_id, "resume", self._random.randrange(1_000))
        elif draw < 0.925:
            self.do_change(client, url, run_id, "cancel", number)
        else:
            self.do_look(client, url, run_id, 0)

    # -------------------------------------------------------------- operations
    def standing(self, view: dict[str, Any]) -> Hashable:
        """Return what a view says to the model."""
        phase = self._record.shown(view)
        return Standing(phase, view["status"], view["generation"], view["events"])

    def do_signal(self, client: httpx.Client, url: str, run_id: str, number: int) -> None:
        """Send a signal under an id of its own, for the first time or again."""
        mark = f"go-{number}"
        self._record.begin(self.number, run_id, "signal", mark)
        path, body = f"{url}/v1/runs/{run_id}/signals/go", {"payload": mark, "id": mark}
        if self._write(client, path, body, DONE):
            self._record.signalled[run_id].add(mark)

    def do_update(self, client: httpx.Client, url: str, run_id: str, number: int) -> None:
        """Add to the sum under an id of its own, for the first time or again."""
        mark = f"add-{number}"
        self._record.begin(self.number, run_id, "add", mark, number + 1)
        path = f"{url}/v1/runs/{run_id}/updates/add"
        body = {"payload": number + 1, "id": mark, "wait_ms": 1_000}
        self._write(client, path, body, None)

    def do_change(
        self, client: httpx.Client, url: str, run_id: str, what: str, number: int
    ) -> None:
        """Pause, resume or cancel a run under the id of a request, for the first time or again."""
        mark = f"{what}-{number}"
        self._record.begin(self.number, run_id, what, mark)
        self._write(client, f"{url}/v1/runs/{run_id}/{what}", {"request": mark}, DONE)

    def _write(self, client: httpx.Client, path: str, body: dict[str, Any], told: Hashable) -> bool:
        """Ask for a change and note the answer: ``told``, or for an update the sum."""
        answer = self._ask(client, "POST", path, json=body)
        if answer is None:
            return False
        if answer.status_code == 200:
            shown = answer.json()
            if shown.get("answered") is False:
                self._record.give_up(self.number, was_sent=True)
                return False
            self._record.end(self.number, shown["value"] if told is None else told)
            self._record.acknowledged()
            return True
        code = answer.json()["error"]["code"]
        if code == "run_ended":
            self._record.end(self.number, ENDED)
        else:
            # It was not there, which is what a look would have been told.
            assert code == "unknown_run", answer.text
            self._record.give_up(self.number, was_sent=False)
        return False

    def do_query(self, client: httpx.Client, url: str, run_id: str) -> None:
        """Read the cells of a ledger, as new as anybody was told before."""

        def seen(answer: dict[str, Any]) -> Seen:
            total, taken = answer["value"]
            return Seen(tuple(taken), total, None)

        self._read(client, f"{url}/v1/runs/{run_id}/queries/seen?consistent=1", run_id, seen)

    def do_history(self, client: httpx.Client, url: str, run_id: str) -> None:
        """Read the settled steps of a ledger."""

        def seen(answer: dict[str, Any]) -> Seen:
            events = [decode(base64.b64decode(each["bytes"])) for each in answer["events"]]
            updates = [each for each in events if isinstance(each, Updated)]
            taken = tuple(each.signal_id for each in events if isinstance(each, Taken))
            total = cast("int", updates[-1].answer) if updates else 0
            return Seen(taken, total, tuple(each.update_id for each in updates))

        self._read(client, f"{url}/v1/runs/{run_id}/history", run_id, seen)

    def _read(
        self,
        client: httpx.Client,
        url: str,
        run_id: str,
        seen: Callable[[dict[str, Any]], Seen],
    ) -> None:
        self._record.begin(self.number, run_id, "read")
        answer = self._ask(client, "GET", url)
        if answer is not None:
            self._note(answer, seen)


def finish(cluster: Cluster, ids: MixedIds, record: Record) -> list[str]:
    """Bring every run to its end; return the ids of all runs, children too.

    Ledgers get what they still wait for, and are read once more when they have ended.
    """
    url = cluster.members[0].url
    last = MixedCaller(LAST, [url], ids, record, threading.Event())
    for run_id in ids.ledgers:
        if run_id not in record.started:
            continue
        last.do_change(cluster.client, url, run_id, "resume", LAST)
        for number in range(TURNS):
            last.do_signal(cluster.client, url, run_id, number)
            last.do_update(cluster.client, url, run_id, number)
    _wait_for_ends(cluster, url, last)
    for run_id in ids.ledgers:
        if run_id in record.started:
            last.do_look(cluster.client, url, run_id, 0)
            last.do_query(cluster.client, url, run_id)
            last.do_history(cluster.client, url, run_id)
    found: list[str] = []
    page = cluster.client.get(f"{url}/v1/runs", params={"limit": 200}).json()
    while True:
        found += [run["id"] for run in page["runs"]]
        if not page.get("after"):
            return found
        page = cluster.client.get(
            f"{url}/v1/runs", params={"limit": 200, "after": page["after"]}
        ).json()


def _wait_for_ends(cluster: Cluster, url: str, last: MixedCaller) -> None:
    until = time.monotonic() + END_SECONDS_MAX
    for turn in count(LAST + 1):
        live = [
            run
            for status in ("running", "parked", "paused")
            for run in cluster.client.get(
                f"{url}/v1/runs", params={"status": status, "limit": 200}
            ).json()["runs"]
        ]
        if not live:
            return
        assert time.monotonic() < until, f"{len(live)} runs have not ended: {live[:3]}"
        for run in live:
            if run["status"] == "paused":  # by a pause that nobody was told of
                last.do_change(cluster.client, url, run["id"], "resume", turn)
        time.sleep(0.2)


def verify(cluster: Cluster, record: Record, runs: list[str], journal: Path) -> Findings:
    """Compare what clients were told with what each node holds, ``runs`` being all there are."""
    found = Findings()
    judge(record, mixed_model(), found)
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
