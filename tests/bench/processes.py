"""Real node processes for benchmarks and tests: started, killed, restarted, always cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from raftoral.cli.demo_cluster import free_ports

if TYPE_CHECKING:
    from types import TracebackType

APP = Path(__file__).with_name("app.py")


def free_port() -> int:
    """Return a port of loopback that nothing listened on a moment ago, each time another one."""
    (port,) = free_ports(1)
    return port


@dataclass
class Member:
    """One node process."""

    number: int
    folder: Path
    listen: str
    http: str
    join: tuple[str, ...] = ()
    app: Path = APP
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    under: tuple[str, ...] = ()
    """A program that runs it, such as a tracer that becomes no parent of it."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://{self.http}"

    @property
    def log(self) -> Path:
        """What it wrote to stdout and stderr."""
        return self.folder / f"node-{self.number}.log"

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it serves."""
        command = [*self.under, sys.executable, "-m", "raftoral", "start"]
        command += ["--listen", self.listen, "--http", self.http]
        command += [
            "--data",
            str(self.folder / f"node-{self.number}"),
            "--app",
            f"{self.app}:registry",
        ]
        for seed in self.join:
            command += ["--join", seed]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )

    def wait_ready(self, client: httpx.Client, seconds: float = 30) -> None:
        """Return when the node answers; fail with its log if it does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                if client.get(f"{self.url}/v1/status", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"node {self.number} does not serve:\n{self.log.read_text()}")

    def kill(self) -> float:
        """Kill -9; return when, on the monotonic clock."""
        assert self.process is not None
        at = time.monotonic()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return at

    def stop(self) -> int:
        """End it cleanly; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Cluster:
    """Node processes in a folder, three unless said otherwise; leaves nothing running."""

    def __init__(
        self, folder: Path, *, app: Path = APP, own: bool = False, size: int = 3, **member: Any
    ) -> None:
        """``own``: the caller brings the last node, so one less is started here."""
        self.client = httpx.Client(timeout=15)
        peers = [f"127.0.0.1:{free_port()}" for _ in range(size)]
        self.members = [
            Member(
                number,
                folder,
                peers[number - 1],
                f"127.0.0.1:{free_port()}",
                (peers[0],) if number > 1 else (),
                app,
                **member,
            )
            for number in range(1, size + 1 - own)
        ]
        self._own = own
        self._size = size

    def __enter__(self) -> Self:
        try:
            for member in self.members:
                member.start()
                member.wait_ready(self.client)
            if not self._own:
                self.wait_full()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.process.kill()
                member.process.wait()
        self.client.close()

    def wait_full(self, seconds: float = 20) -> None:
        """Return when every execution group has three voters and every node sees the others."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            views = [self.get(member, "/v1/status") for member in self.members]
            groups = [group for view in views for group in view["groups"] if group["member"]]
            if all(
                len(group["members"]) == (3 if group["id"] else min(5, self._size))
                and not group["learners"]
                and group["leader"]
                for group in groups
            ) and all(node["alive"] for view in views for node in view["nodes"]):
                return
            time.sleep(0.05)
        raise AssertionError(f"the cluster is not complete: {views}")

    def get(self, member: Member, path: str) -> Any:
        """Return the JSON that a node answers."""
        answer = self.client.get(member.url + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, member: Member, path: str, body: dict[str, Any]) -> Any:
        """Post JSON and return the answer."""
        answer = self.client.post(member.url + path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()
