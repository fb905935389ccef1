"""Real nodes in processes of their own: start, serve, stop, come back."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from raftoral.api.server import listener
from raftoral.client.http import Client
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.processes

APP = """
from raftoral.registry.app import Registry
from raftoral.replay.effects import Compute, Flow

registry = Registry()

@registry.activity("greet")
def greet(name: str) -> str:
    return f"hello {name}"

@registry.workflow("hello", version=1)
def hello(name: str) -> Flow[str]:
    text = yield from Compute("text", greet, name)
    return text
"""


def free_address() -> str:
    """Return a loopback address that nobody listens on."""
    return f"127.0.0.1:{free_port()}"


class Started:
    """One `raftoral start`; its first line has been read."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "raftoral", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float, str]:
        """Send a signal; return the exit code, the seconds that it took, and what stderr said."""
        begun = time.monotonic()
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - begun, err


@contextlib.contextmanager
def started(*args: str) -> Iterator[Started]:
    """A node that is gone afterwards, whatever the test did."""
    node = Started(*args)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.process.kill()
        node.process.communicate()


@pytest.fixture
def app(tmp_path: Path) -> str:
    """An application with one workflow, as the command line names it."""
    (tmp_path / "app.py").write_text(APP)
    return f"{tmp_path / 'app.py'}:registry"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_serves_stops_and_comes_back(tmp_path: Path, app: str, number: int) -> None:
    """One line when it serves, exit 0 within seconds of a signal, and its runs are there again."""
    http = free_address()
    data = str(tmp_path / "d")
    args = ("start", "--data", data, "--app", app, "--http", http, "--listen", free_address())
    with started(*args) as node:
        assert re.match(rf"node 1 serves peers at \S+, HTTP at http://{http}, data in ", node.line)
        with Client(f"http://{http}") as client:
            client.start("hello", {"name": "you"}, id="h-1")
            assert client.wait("h-1", 10).result == "hello you"
        code, seconds, err = node.stop(number)
        assert (code, "Traceback" in err) == (0, False)
        assert seconds < 5
    with started(*args) as node, Client(f"http://{http}") as client:
        assert client.show("h-1").result == "hello you"
        assert [d.name for d in client.definitions()] == ["hello"]


def stopped_amid(folder: Path, app: str, workflow: str) -> str:
    """Stop a node in the middle of an activity; return what it says. The run must still be there."""
    (folder / "app.py").write_text(app)
    http, begun = free_address(), folder / "begun"
    data = ("--data", str(folder / "d"), "--app", f"{folder / 'app.py'}:registry")
    args = ("start", *data, "--http", http, "--listen", free_address())
    with started(*args) as node:
        with Client(f"http://{http}") as client:
            client.start(workflow, {"told": str(begun)}, id="r")
        while not begun.exists():
            time.sleep(0.01)
        code, _, err = node.stop()
    assert code == 0
    with started(*args), Client(f"http://{http}") as client:
        assert client.show("r").status == "running"
    return err


ENDLESS = """
import pathlib, time
from raftoral import Compute, Flow, Registry

registry = Registry()

@registry.activity("sleep")
def sleep(told: str) -> None:
    pathlib.Path(told).touch()
    time.sleep(600)

@registry.workflow("endless", version=1)
def endless(told: str) -> Flow[None]:
    yield from Compute("sleep", sleep, told)
"""


def test_a_node_stops_in_the_middle_of_an_activity_in_a_thread(tmp_path: Path) -> None:
    """Nothing ends a thread; the process says so, ends without it, and the run is there again."""
    told = stopped_amid(tmp_path, ENDLESS, "endless")
    assert told == "raftoral: ends in the middle of activities in threads\n"


STUBBORN = """
import asyncio, pathlib
from raftoral import Compute, Flow, Registry

registry = Registry()

@registry.activity("cling")
async def cling(told: str) -> None:
    pathlib.Path(told).touch()
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@registry.workflow("clings", version=1)
def clings(told: str) -> Flow[None]:
    yield from Compute("cling", cling, told)
"""


def test_a_node_stops_though_an_async_activity_swallows_its_cancellation(tmp_path: Path) -> None:
    """The process waits for it for five seconds, says so, ends without it, and the run is there."""
    told = stopped_amid(tmp_path, STUBBORN, "clings")
    assert told.endswith(
        "raftoral: ends in the middle of async activities that do not let CancelledError pass\n"
    )
    assert "Traceback" not in told


def test_dev_needs_no_arguments_but_ports(tmp_path: Path, app: str) -> None:
    """`dev` forms a cluster of one, in the folder that it is told or in ./.raftoral."""
    http = free_address()
    data = tmp_path / "here"
    with started(
        "dev", "--http", http, "--listen", free_address(), "--data", str(data), "--app", app
    ) as node:
        assert "node 1 serves" in node.line
        assert data.is_dir()


def test_three_nodes_by_join_and_one_stops(tmp_path: Path, app: str) -> None:
    """Two nodes join by an address; every node then answers for a run, and one may leave."""
    peers = [free_address() for _ in range(3)]
    https = [free_address() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        nodes = []
        for n in range(3):
            join = ["--join", f"{peers[0]},{peers[1]}"] if n else []
            data = ["--data", str(tmp_path / str(n)), "--app", app]
            place = ["--listen", peers[n], "--http", https[n]]
            nodes.append(stack.enter_context(started("start", *data, *place, *join)))
            assert f"node {n + 1} serves" in nodes[-1].line
        clients = [stack.enter_context(Client(f"http://{http}")) for http in https]
        clients[0].start("hello", {"name": "all"}, id="h")
        for client in clients:
            assert client.wait("h", 10).result == "hello all"
            assert len(client.nodes()) == 3
        assert nodes[2].stop()[0] == 0
        clients[1].start("hello", {"name": "two"}, id="i")
        assert clients[0].wait("i", 10).result == "hello two"


def test_a_folder_in_use_is_told(tmp_path: Path) -> None:
    """A second node on the same folder says so in one line, without a traceback."""
    data = str(tmp_path / "d")
    first = ("start", "--data", data, "--http", free_address(), "--listen", free_address())
    second = ("start", "--data", data, "--http", free_address(), "--listen", free_address())
    with started(*first), started(*second) as refused:
        _, err = refused.process.communicate(timeout=20)
        assert refused.process.returncode in (1, 2)
        assert refused.line == ""
        assert "raftoral: " in err
        assert data in err
        assert "Traceback" not in err


def test_a_taken_peer_port_is_told(tmp_path: Path) -> None:
    """A port for peers that somebody has is one message that names it."""
    with listener("127.0.0.1", 0) as sock:
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        with started("start", "--listen", taken, "--http", free_address()) as refused:
            _, err = refused.process.communicate(timeout=20)
    assert refused.process.returncode in (1, 2)
    assert taken.rpartition(":")[2] in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_demo_holds(tmp_path: Path) -> None:
    """Three processes, one killed owner: nothing lost, nothing settled twice, nothing left behind."""
    done = subprocess.run(
        [sys.executable, "-m", "raftoral", "demo", "--runs", "30"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    *_, last = done.stdout.splitlines()
    line = r"demo: 30 runs, 1 owner killed, takeover [1-9]\d* ms, 0 lost, 0 settled twice"
    assert re.fullmatch(line, last), done.stdout + done.stderr
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []
