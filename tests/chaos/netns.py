"""Five node processes in five network namespaces, joined by a switch whose lines can be bad.

Owns the namespaces and the switch, and leaves neither behind. The clients stand at a sixth port, in
this process's own namespace, over lines that nobody breaks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from tests.bench.processes import Cluster, Member

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

NODES: Final = 5
CLIENTS_PORT: Final = NODES + 1
APP = Path(__file__).with_name("app.py")
ROOT = Path(__file__).parents[2]


def refusal() -> str | None:
    """Return why this process cannot make namespaces and switches here; None if it can."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun for a switch in user space"
    name = f"raftoral-probe-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    except FileNotFoundError:
        return "needs `ip`, of the package iproute2"
    if made.returncode:
        return f"`ip netns add` is refused: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return None


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Network:
    """The namespaces ``name(1)`` to ``name(5)``, each with one address on the switch's network."""

    def __init__(self, seed: int) -> None:
        # An interface has a name of at most 15 characters; the number keeps runs beside each other.
        self._mark = f"rf{os.getpid() % 100_000}-"
        self._net = f"10.77.{os.getpid() % 250}"
        self._seed = seed
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def name(self, port: int) -> str:
        """Return the namespace of a port."""
        return f"raftoral-{os.getpid()}-{port}"

    def address(self, port: int) -> str:
        """Return the address at a port."""
        return f"{self._net}.{port}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            arguments = [self._mark, str(CLIENTS_PORT), str(self._seed)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.switch", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            stack.callback(self._stop)
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n", "the switch does not start"
            for port in range(1, NODES + 1):
                _ip("netns", "add", self.name(port))
                stack.callback(_ip, "netns", "del", self.name(port))
                _ip("link", "set", f"{self._mark}{port}", "netns", self.name(port))
                self._set_up(port, "netns", "exec", self.name(port), "ip")
            self._set_up(CLIENTS_PORT)
            self._stack = stack.pop_all()
        return self

    def _set_up(self, port: int, *inside: str) -> None:
        device = f"{self._mark}{port}"
        _ip(*inside, "link", "set", device, "address", f"02:00:00:00:00:{port:02x}")
        _ip(*inside, "addr", "add", f"{self.address(port)}/24", "dev", device)
        _ip(*inside, "link", "set", device, "up")
        for other in range(1, CLIENTS_PORT + 1):
            if other != port:
                # Known for good, so that a line that is cut one way is cut one way only.
                mac = f"02:00:00:00:00:{other:02x}"
                _ip(*inside, "neigh", "add", self.address(other), "lladdr", mac, "dev", device)
        if inside:
            _ip(*inside, "link", "set", "lo", "up")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _stop(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()  # It ends with its commands.
        with self._process:
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()

    # -------------------------------------------------------------- the lines
    def change(self, pairs: Iterable[tuple[int, int]], **faults: Any) -> None:
        """Set what is wrong with lines, and return once it is."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {"pairs": list(pairs), "set": faults, "answer": "done"}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", "the switch has ended"

    def between_nodes(self) -> list[tuple[int, int]]:
        """Return the lines between nodes, in both directions."""
        ports = range(1, NODES + 1)
        return [(one, other) for one in ports for other in ports if one != other]

    def cut(self, inside: set[int], *, out: bool = True, into: bool = True) -> None:
        """Let nothing pass between these nodes and the others, in one direction or both."""
        pairs = [
            (one, other)
            for one, other in self.between_nodes()
            if (out and one in inside and other not in inside)
            or (into and one not in inside and other in inside)
        ]
        self.change(pairs, is_cut=True)

    def mend(self) -> None:
        """Let everything pass again."""
        self.change(self.between_nodes(), is_cut=False)

    def degrade(self, *, loss: float, delay_ms: float, jitter_ms: float) -> None:
        """Make every line between nodes this bad."""
        self.change(self.between_nodes(), loss=loss, delay_ms=delay_ms, jitter_ms=jitter_ms)


class Spread(Cluster):
    """A cluster with each node in a namespace of its own."""

    def __init__(self, folder: Path, network: Network, environment: dict[str, str]) -> None:
        self.client = httpx.Client(timeout=15, trust_env=False)
        self._own = False
        self._size = NODES
        self.members = [
            Member(
                number,
                folder,
                f"{network.address(number)}:7400",
                f"{network.address(number)}:7480",
                (f"{network.address(1)}:7400",) if number > 1 else (),
                APP,
                ("--insecure", "--name", f"n{number}"),
                environment,
                ("ip", "netns", "exec", network.name(number)),
            )
            for number in range(1, NODES + 1)
        ]

    def leader(self, group: int) -> Member | None:
        """Return who leads a group, as any node that answers soon believes."""
        for member in self.members:
            try:
                view = self.client.get(f"{member.url}/v1/status", timeout=1.0).json()
            except httpx.TransportError:
                continue
            for each in view["groups"]:
                if each["id"] == group and each["leader"]:
                    number: int = each["leader"]
                    return self.members[number - 1]
        return None

    def holders(self, group: int) -> list[Member]:
        """Return the members of a group."""
        until = time.monotonic() + 10
        while (leader := self.leader(group)) is None:
            assert time.monotonic() < until, f"group {group} has no leader"
            time.sleep(0.1)
        view = self.get(leader, "/v1/status")
        members = next(each["members"] for each in view["groups"] if each["id"] == group)
        return [self.members[number - 1] for number in members]
