"""A node that is killed at one chosen call of the system, and what is left after it.

Owns the scripted run and the list of calls. A tracer kills the node as it enters its k-th write,
sync or rename (counted for each kind and each thread); then the node starts again without the
tracer, and everything that was acknowledged must be there.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx

from tests.bench.processes import Member, free_port
from tests.chaos.checks import Findings, verify
from tests.chaos.clients import SIGNALS, Caller, Ids, finish
from tests.chaos.record import Record

APP = Path(__file__).with_name("app.py")
CALLS = ("write", "pwrite64", "fdatasync", "fsync", "rename")
START_SECONDS_MAX = 30.0


def tracer() -> str | None:
    """Return the program that kills at a call, if it is on this machine."""
    return shutil.which("strace")


@dataclass
class Alone:
    """A cluster of one node over HTTP, with its journal and all that was acknowledged."""

    folder: Path
    record: Record = field(default_factory=Record)
    ids: Ids = field(default_factory=lambda: Ids(0))

    def __post_init__(self) -> None:
        self.journal = self.folder / "journal"
        self.journal.touch()
        self.client = httpx.Client(timeout=15, trust_env=False)
        peers, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        environment = {"CHAOS_JOURNAL": str(self.journal), "RAFTORAL_LOG": "warning"}
        self.node = Member(1, self.folder, peers, http, app=APP, environment=environment)
        self.members = [self.node]

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return self.node.process is None or self.node.process.poll() is not None

    def start(self, under: tuple[str, ...] = ()) -> bool:
        """Start it; return whether it serves, and not whether it has died meanwhile."""
        self.node.under = under
        self.node.start()
        until = time.monotonic() + START_SECONDS_MAX
        while not self.is_dead:
            try:
                if self.client.get(f"{self.node.url}/healthz", timeout=2).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            assert time.monotonic() < until, f"it does not serve:\n{self.node.log.read_text()}"
            time.sleep(0.02)
        return False

    def script(self) -> None:
        """Start, signal and wait for a few runs, as far as the node lives."""
        caller = Caller(0, [self.node.url], self.ids, self.record, threading.Event())
        self.ids.inputs["steps"] = ("chaos.steps", {"turns": 2, "millis": 1})
        self.ids.inputs["signals"] = ("chaos.signals", {"count": SIGNALS})
        self.ids.inputs["more"] = ("chaos.steps", {"turns": 1, "millis": 1})
        url = self.node.url
        with httpx.Client(timeout=10, trust_env=False) as client:
            for run_id in self.ids.inputs:
                caller.do_start(client, url, run_id)
                if run_id == "signals":
                    for number in range(SIGNALS):
                        caller.do_signal(client, url, run_id, number)
                caller.do_look(client, url, run_id, 0 if self.is_dead else 5_000)

    def verify(self) -> Findings:
        """Let everything end, and compare what was acknowledged with what is there."""
        runs = finish(self.node.url, self.ids, self.record)
        return verify(self, self.record, runs, self.journal)

    def close(self) -> None:
        """Leave nothing running."""
        self.client.close()
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.kill()


def killed_at(call: str, k: int, folder: Path) -> tuple[bool, Findings]:
    """Run the script with a kill at the ``k``-th ``call``; return whether it came, and the rest."""
    program = tracer()
    assert program is not None
    # -D: the tracer is no parent, so the process that is started here is the node itself.
    kill = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={k}")
    under = (program, "-D", "-f", "-qq", "-o", "/dev/null", *kill)
    alone = Alone(folder)
    try:
        if alone.start(under):
            alone.script()
        came = alone.is_dead
        if not came:
            alone.node.kill()
        if not alone.start():
            return came, Findings(wrong=[f"it does not start: {alone.node.log.read_text()}"])
        return came, alone.verify()
    finally:
        alone.close()


def sweep() -> bool:
    """Kill at every call of every kind; print each finding; return whether all promises hold."""
    if tracer() is None:
        print("skipped: there is no strace on this machine")
        return True
    kills, broken = 0, 0
    for call in CALLS:
        for k in count(1):
            with tempfile.TemporaryDirectory(prefix="raftoral-sweep-") as folder:
                came, findings = killed_at(call, k, Path(folder))
            for line in [*findings.lost, *findings.wrong]:
                print(f"FAILED: kill at {call} {k}: {line}")
            broken += not findings.holds
            if not came:
                print(f"{call}: killed at each of {k - 1} calls", flush=True)
                break
            kills += 1
    print(f"{kills} kills, after {broken} of them something acknowledged was missing or wrong")
    return not broken
