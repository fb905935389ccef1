"""The three node processes of the demo: started as a user would, killed as no user would."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from raftoral.client.http import Client
from raftoral.errors import RaftoralError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTED_SECONDS_MAX: Final = 20.0
STOPPED_SECONDS_MAX: Final = 5.0


class DemoFailed(RaftoralError):
    """The demo cannot go on; the message says what is missing."""

    code = "demo_failed"


@dataclass
class NodeProcess:
    """One `raftoral start`, its folder and its log."""

    name: str
    folder: Path
    peers: str
    http: str
    app: Path
    journal: Path
    join: str | None = None
    number: int = 0
    killed: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{self.http}"

    @property
    def pid(self) -> int:
        """The process's id; 0 before it is started."""
        return self.process.pid if self.process is not None else 0

    def start(self) -> None:
        """Start the process; a node that was here before finds its cluster in its folder."""
        command = [
            *(sys.executable, "-m", "raftoral", "start", "--name", self.name),
            *("--data", str(self.folder / "data"), "--app", f"{self.app}:registry"),
            *("--listen", self.peers, "--http", self.http),
        ]
        if self.join is not None and self.number == 0:
            command += ["--join", self.join]
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            # Its own session: a Ctrl-C on the terminal reaches the demo, which stops the nodes.
            self.process = subprocess.Popen(  # noqa: S603 - this program itself
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "ORDER_JOURNAL": str(self.journal),
                    "RAFTORAL_LOG": "warning",
                },
                start_new_session=True,
            )
        self.killed = False

    def wait_until_serving(self) -> None:
        """Return once the node answers; `DemoFailed` with the end of its log if it does not."""
        assert self.process is not None
        end = time.monotonic() + STARTED_SECONDS_MAX
        with Client(self.url, patience=0) as client:
            while not client.healthy():
                if self.process.poll() is not None or time.monotonic() > end:
                    raise DemoFailed(f"node {self.name} does not serve:\n{self.end_of_log()}")
                time.sleep(0.02)
            self.number = client.status().node

    def end_of_log(self) -> str:
        """Return the last lines that the node wrote."""
        try:
            lines = (self.folder / "log").read_text(errors="replace").splitlines()
        except OSError:
            return "(it wrote nothing)"
        return "\n".join(lines[-12:]) or "(it wrote nothing)"

    def kill(self) -> None:
        """End the process as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.killed = True


# Below those that systems give to outgoing connections, one of which could take a port before the
# node that it is for; each process begins elsewhere.
_PORTS: Final = range(20_000, 32_000)
_untried: Final = islice(cycle(_PORTS), os.getpid() * 61 % len(_PORTS), None)


def free_ports(count: int) -> list[int]:
    """Return so many loopback ports that nobody listens on, each time others; or `DemoFailed`."""
    found = list(islice(filter(_is_free, islice(_untried, len(_PORTS))), count))
    if len(found) < count:
        raise DemoFailed(f"no {count} ports of 127.0.0.1 from {_PORTS[0]} to {_PORTS[-1]} are free")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def processes(folder: Path, app: Path, journal: Path) -> Iterator[list[NodeProcess]]:
    """Three nodes that are not started yet; whatever happens, none is left at the end."""
    ports = free_ports(6)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    nodes = [
        NodeProcess(name, folder / name, addresses[n], addresses[n + 3], app, journal)
        for n, name in enumerate("abc")
    ]
    for node in nodes[1:]:
        node.join = nodes[0].peers
    try:
        yield nodes
    finally:
        stop_all(nodes)


def stop_all(nodes: list[NodeProcess]) -> None:
    """Ask every process to stop, and kill what does not within a few seconds."""
    alive = [n.process for n in nodes if n.process is not None and n.process.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGTERM)
    end = time.monotonic() + STOPPED_SECONDS_MAX
    for process in alive:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
