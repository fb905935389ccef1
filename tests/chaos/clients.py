"""Eight callers over HTTP: they start, signal, look, wait and list, on whatever node they meet.

Every write carries an id that the caller chose, so what is not known to have happened is repeated
by whoever comes by. No caller has more than one request under way, and each pauses in between.
"""

from __future__ import annotations

import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from tests.chaos.record import ABSENT, ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tests.chaos.record import Record

REQUEST_SECONDS = 5.0
SIGNALS = 2
END_SECONDS_MAX = 60.0
POOL = 40
"""So many of the newest ids are asked about."""


class Ids:
    """Run ids and what each is started with, chosen before anybody asks for them."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._lock = threading.Lock()
        self.inputs: dict[str, tuple[str, dict[str, Any]]] = {}

    def new(self) -> str:
        """Return an id that nobody has."""
        with self._lock:
            run_id = f"run-{len(self.inputs)}"
            if self._random.random() < 0.4:
                self.inputs[run_id] = ("chaos.signals", {"count": SIGNALS})
            else:
                given = {"turns": self._random.randint(3, 8), "millis": self._random.randint(5, 80)}
                self.inputs[run_id] = ("chaos.steps", given)
            return run_id

    def some(self, random: Random) -> str:
        """Return one of the newest ids, or a new one if there is none."""
        with self._lock:
            newest = list(self.inputs)[-POOL:]
        return random.choice(newest) if newest else self.new()


class Caller(threading.Thread):
    """One client."""

    def __init__(
        self, number: int, urls: Sequence[str], ids: Ids, record: Record, over: threading.Event
    ) -> None:
        super().__init__(name=f"caller-{number}", daemon=True)
        self.number = number
        self.problem: BaseException | None = None
        self._urls = urls
        self._ids = ids
        self._record = record
        self._over = over
        self._random = Random(number)

    def run(self) -> None:
        """Ask until it is over."""
        try:
            with httpx.Client(timeout=REQUEST_SECONDS, trust_env=False) as client:
                while not self._over.wait(self._random.uniform(0.04, 0.16)):
                    self.one(client, self._random.choice(self._urls))
        except BaseException as problem:  # told by whoever joins this thread
            self.problem = problem

    def one(self, client: httpx.Client, url: str) -> None:
        """Ask for one thing."""
        draw = self._random.random()
        if draw < 0.08:
            self.do_start(client, url, self._ids.new())
        elif draw < 0.30:
            self.do_start(client, url, self._ids.some(self._random))
        elif draw < 0.55:
            run_id = self._ids.some(self._random)
            if self._ids.inputs[run_id][0] == "chaos.signals":
                self.do_signal(client, url, run_id, self._random.randrange(SIGNALS))
        elif draw < 0.95:
            wait_ms = self._random.choice((0, 0, 50, 300))
            self.do_look(client, url, self._ids.some(self._random), wait_ms)
        else:
            self.do_list(client, url)

    # -------------------------------------------------------------- operations
    def standing(self, view: dict[str, Any]) -> Hashable:
        """Return what a view says to the model."""
        return self._record.shown(view)

    def do_start(self, client: httpx.Client, url: str, run_id: str) -> None:
        """Start a run, for the first time or again."""
        name, given = self._ids.inputs[run_id]
        self._record.begin(self.number, run_id, "start")
        body = {"name": name, "input": given, "id": run_id}
        answer = self._ask(client, "POST", f"{url}/v1/runs", json=body)
        if answer is not None:
            assert answer.status_code == 200, answer.text
            self._record.end(self.number, self.standing(answer.json()))
            self._record.started[run_id] = (name, given)
            self._record.acknowledged()

    def do_signal(self, client: httpx.Client, url: str, run_id: str, number: int) -> None:
        """Send a signal under an id of its own, for the first time or again."""
        payload = f"{run_id}:{number}"
        self._record.begin(self.number, run_id, "signal", number)
        answer = self._ask(
            client,
            "POST",
            f"{url}/v1/runs/{run_id}/signals/go",
            json={"payload": payload, "id": f"go-{number}"},
        )
        if answer is None:
            return
        if answer.status_code == 200:
            self._record.end(self.number, "taken")
            self._record.signalled[run_id].add(payload)
            self._record.acknowledged()
        elif answer.json()["error"]["code"] == "run_ended":
            self._record.end(self.number, ENDED)
        else:
            # It was not there to be signalled, which is what a look would have been told.
            assert answer.json()["error"]["code"] == "unknown_run", answer.text
            self._record.give_up(self.number, was_sent=False)

    def do_look(self, client: httpx.Client, url: str, run_id: str, wait_ms: int) -> None:
        """Ask how a run stands, or wait for its end for a moment."""
        self._record.begin(self.number, run_id, "look")
        answer = self._ask(client, "GET", f"{url}/v1/runs/{run_id}", params={"wait_ms": wait_ms})
        if answer is not None:
            self._note(answer, self.standing)

    def _note(self, answer: httpx.Response, seen: Callable[[dict[str, Any]], Any]) -> None:
        """Record what was shown of a run, or that there is none."""
        if answer.status_code == 404:
            assert answer.json()["error"]["code"] == "unknown_run", answer.text
            self._record.end(self.number, ABSENT)
        else:
            assert answer.status_code == 200, answer.text
            self._record.end(self.number, seen(answer.json()))

    def do_list(self, client: httpx.Client, url: str) -> None:
        """List runs. A list is one node's own view, so only the ends in it are promises."""
        self._record.begin(self.number, "list", "look")
        answer = self._ask(client, "GET", f"{url}/v1/runs", params={"limit": 50})
        if answer is not None:
            assert answer.status_code == 200, answer.text
            for view in answer.json()["runs"]:
                self._record.shown(view)
            self._record.give_up(self.number, was_sent=False)

    def _ask(
        self, client: httpx.Client, method: str, url: str, **more: Any
    ) -> httpx.Response | None:
        """Return the answer; None, and the call given up, if nobody can know what became of it."""
        try:
            answer = client.request(method, url, **more)
        except httpx.ConnectError:
            self._record.give_up(self.number, was_sent=False)
            return None
        except httpx.TransportError:
            self._record.give_up(self.number, was_sent=True)
            return None
        if answer.status_code == 503:
            self._record.give_up(self.number, was_sent=True)
            return None
        return answer


def finish(url: str, ids: Ids, record: Record) -> list[str]:
    """Send every run the signals that it waits for; return the ids of all runs once ended."""
    runs = []
    with httpx.Client(timeout=15, trust_env=False) as client:
        for run_id, (name, _) in list(ids.inputs.items()):
            view = client.get(f"{url}/v1/runs/{run_id}")
            if view.status_code == 404 and run_id not in record.started:
                continue
            runs.append(run_id)
            if name == "chaos.signals" and view.json().get("status") == "running":
                for number in range(SIGNALS):
                    body = {"payload": f"{run_id}:{number}", "id": f"go-{number}"}
                    client.post(f"{url}/v1/runs/{run_id}/signals/go", json=body)
        until = time.monotonic() + END_SECONDS_MAX
        for run_id in runs:
            while time.monotonic() < until:
                view = client.get(f"{url}/v1/runs/{run_id}", params={"wait_ms": 2000})
                if view.json().get("status") != "running":
                    break
    return runs
