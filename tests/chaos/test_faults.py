"""Real nodes that are killed, stopped and starved: what they acknowledged is there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.bench.processes import Cluster, Member
from tests.chaos.__main__ import APP, run
from tests.chaos.clients import SIGNALS
from tests.chaos.sweep import Alone, killed_at, tracer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]

ELECTED_SECONDS_MAX = 3.0
STOPPED_SECONDS = 5.0


# ------------------------------------------------------------------ one node
@pytest.mark.slow
@pytest.mark.skipif(tracer() is None, reason="needs strace to kill a node at a chosen call")
def test_a_kill_at_any_write_or_sync_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Whichever write, sync or rename a kill -9 hits, the node starts again with all it answered."""
    points = [("fdatasync", k) for k in (1, 6, 12, 17, 23)]
    points += [("write", k) for k in (2, 14, 30, 45)]
    points += [("pwrite64", 2), ("pwrite64", 3), ("fsync", 4), ("rename", 2)]
    came = 0
    for call, k in points:
        folder = tmp_path / f"{call}-{k}"
        folder.mkdir()
        was_killed, findings = killed_at(call, k, folder)
        came += was_killed
        assert findings.holds, (call, k, findings)
    assert came >= len(points) * 3 // 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of few megabytes; skips where this process may not mount one."""
    with mounted(tmp_path / "small") as disk:
        yield disk


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """Make a folder a disk of 8 MB; skips where this process may not mount one."""
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_node_on_a_full_disk_stops_with_one_message(small_disk: Path) -> None:
    """It acknowledges nothing that it cannot keep, says why it ends, and comes back with room."""
    alone = Alone(small_disk)
    try:
        assert alone.start()
        fill(alone)
        assert len(alone.record.signalled) > 3
        assert alone.node.process is not None
        assert alone.node.process.wait(timeout=15) == 1
        said = alone.node.log.read_text()
        assert "Traceback" not in said, said
        ends = [line for line in said.splitlines() if line.startswith("raftoral:")]
        assert len(ends) == 1, said
        assert str(small_disk) in ends[0]
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert alone.start(), alone.node.log.read_text()
        findings = alone.verify()
        assert findings.holds, findings
        body = {"name": "chaos.steps", "input": {"turns": 1, "millis": 1}, "wait_ms": 10_000}
        assert alone.client.post(f"{alone.node.url}/v1/runs", json=body).json()["result"]
    finally:
        alone.close()


def fill(alone: Alone) -> None:
    """Start runs and send them large signals until the node takes no more; record what it took."""
    url = f"{alone.node.url}/v1/runs"
    with suppress(httpx.TransportError):
        for number in range(1_000):
            run_id = f"full-{number}"
            given = alone.ids.inputs[run_id] = ("chaos.signals", {"count": SIGNALS})
            body: dict[str, Any] = {"name": given[0], "input": given[1], "id": run_id}
            if alone.client.post(url, json=body).status_code != 200:
                return
            alone.record.started[run_id] = given
            payload = os.urandom(100_000).hex()
            body = {"payload": payload, "id": "go-0"}
            if alone.client.post(f"{url}/{run_id}/signals/go", json=body).status_code != 200:
                return
            alone.record.signalled[run_id].add(payload)


# ------------------------------------------------------------------ three nodes
@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that serve."""
    journal = tmp_path / "journal"
    environment = {"CHAOS_JOURNAL": str(journal), "RAFTORAL_LOG": "warning"}
    with Cluster(tmp_path, app=APP, environment=environment) as cluster:
        yield cluster


def group_1(cluster: Cluster, member: Member) -> dict[str, Any]:
    """Return group 1 as ``member`` sees it."""
    groups = cluster.get(member, "/v1/status")["groups"]
    return next(dict(group) for group in groups if group["id"] == 1)


def roles(cluster: Cluster) -> tuple[Member, Member, Member]:
    """Return the leader of group 1 and the two others."""
    leader = cluster.members[group_1(cluster, cluster.members[0])["leader"] - 1]
    one, two = [member for member in cluster.members if member is not leader]
    return leader, one, two


def start(cluster: Cluster, member: Member, run_id: str, name: str = "chaos.signals") -> Any:
    """Start a run that waits for signals, or that does a few steps."""
    given = {"count": 1} if name == "chaos.signals" else {"turns": 2, "millis": 1}
    return cluster.post(member, "/v1/runs", {"name": name, "input": given, "id": run_id})


def until_taken(cluster: Cluster, member: Member, run_id: str) -> float:
    """Return after how many seconds a start is acknowledged."""
    begun = time.monotonic()
    while time.monotonic() < begun + 15:
        try:
            start(cluster, member, run_id)
        except (AssertionError, httpx.TransportError):
            time.sleep(0.02)
            continue
        return time.monotonic() - begun
    raise AssertionError("nobody takes a start")


def test_a_killed_follower_is_not_felt_and_a_killed_leader_is_replaced_soon(
    cluster: Cluster,
) -> None:
    """Without a follower the same leader goes on; without the leader another one does within 3 s."""
    leader, follower, other = roles(cluster)
    term = group_1(cluster, leader)["term"]
    follower.kill()
    for number in range(20):
        start(cluster, other, f"f-{number}", "chaos.steps")
    assert (group_1(cluster, leader)["term"], group_1(cluster, leader)["leader"]) == (
        term,
        leader.number,
    )
    follower.start()
    follower.wait_ready(cluster.client)
    cluster.wait_full()
    leader.kill()
    assert until_taken(cluster, other, "after") < ELECTED_SECONDS_MAX
    assert group_1(cluster, other)["term"] > term
    for number in range(20):
        view = cluster.get(follower, f"/v1/runs/f-{number}?wait_ms=10000")
        assert view["status"] == "completed"


def test_a_stopped_leader_follows_when_it_wakes(cluster: Cluster) -> None:
    """Stopped for 5 s, it is replaced; awake again it steps down and shows nothing that is old."""
    leader, one, two = roles(cluster)
    start(cluster, leader, "before")
    assert leader.process is not None
    leader.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    assert until_taken(cluster, one, "meanwhile") < ELECTED_SECONDS_MAX
    body = {"payload": "x", "id": "go-0"}
    cluster.post(two, "/v1/runs/before/signals/go", body)
    ended = cluster.get(two, "/v1/runs/before?wait_ms=5000")
    assert ended["status"] == "completed"
    term = group_1(cluster, two)["term"]
    time.sleep(max(0.0, stopped + STOPPED_SECONDS - time.monotonic()))
    leader.process.send_signal(signal.SIGCONT)
    seen = cluster.get(leader, "/v1/runs/before")
    assert (seen["status"], seen["result"]) == ("completed", ended["result"])
    cluster.wait_full()
    view = group_1(cluster, leader)
    assert view["term"] >= term
    assert view["leader"] != leader.number or view["term"] > term
    until_taken(cluster, leader, "after")
    for member in cluster.members:
        assert cluster.get(member, "/v1/runs/meanwhile")["status"] == "running"
    histories = [
        cluster.get(member, "/v1/runs/before/history?local=1")["sha256"]
        for member in cluster.members
    ]
    assert len(set(histories)) == 1


def test_a_leader_on_a_full_disk_makes_way_and_catches_up_once_there_is_room(
    tmp_path: Path,
) -> None:
    """It stops and acknowledges nothing more; the others go on, and it comes back with all of it."""
    journal = tmp_path / "journal"
    environment = {"CHAOS_JOURNAL": str(journal), "RAFTORAL_LOG": "warning"}
    with (
        mounted(tmp_path / "node-1") as disk,
        Cluster(tmp_path, app=APP, environment=environment) as cluster,
    ):
        full, other, third = cluster.members
        taken: list[str] = []
        until = time.monotonic() + 60
        assert full.process is not None
        while full.process.poll() is None:
            assert time.monotonic() < until, "the disk does not get full"
            run_id = f"r-{len(taken)}"
            with suppress(AssertionError, httpx.TransportError):
                start(cluster, other, run_id)
                payload = os.urandom(100_000).hex()
                body = {"payload": payload, "id": "go-0"}
                cluster.post(other, f"/v1/runs/{run_id}/signals/go", body)
                taken.append(run_id)
        assert full.process.returncode == 1
        assert "Traceback" not in full.log.read_text()
        assert len(taken) > 3
        assert until_taken(cluster, third, "meanwhile") < ELECTED_SECONDS_MAX
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        full.start()
        full.wait_ready(cluster.client)
        cluster.wait_full()
        for run_id in taken:
            ends = [
                cluster.get(each, f"/v1/runs/{run_id}?wait_ms=10000") for each in cluster.members
            ]
            assert [end["status"] for end in ends] == ["completed"] * 3
            assert len({str(end["result"]) for end in ends}) == 1


@pytest.mark.slow
def test_a_short_chaos_keeps_every_promise(tmp_path: Path) -> None:
    """Ten seconds of kills and stops under eight clients lose nothing and stay linearizable."""
    findings = run(10, 7, tmp_path)
    assert findings.holds, findings


@pytest.mark.slow
def test_a_short_chaos_over_workflows_keeps_every_promise(tmp_path: Path) -> None:
    """Sagas, fan-outs, timers, signals and children survive ten seconds of kills and stops."""
    findings = run(10, 7, tmp_path, "workflows")
    assert findings.holds, findings
