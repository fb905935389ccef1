"""Figures of whole workflows: latency, throughput, takeover, memory. Real processes, synced disks."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from raftoral import Node
from tests.bench import sleepers
from tests.bench.app import registry, ten
from tests.bench.processes import Cluster, Member, free_port

KILLS = 30
IN_FLIGHT = 100


def measure() -> list[dict[str, Any]]:
    """Return the figures of the runtime, one dict each."""
    return [*asyncio.run(_steps()), _memory(), *sleepers.measure(), _takeover()]


# ------------------------------------------------------------------ steps
async def _steps() -> list[dict[str, Any]]:
    """Ten steps on three nodes: this process embeds one of them and asks it."""
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), own=True) as cluster:
        first = cluster.members[0]
        async with Node(
            registry,
            data=f"{folder}/driver",
            listen=f"127.0.0.1:{free_port()}",
            join=[first.listen],
        ) as node:
            await asyncio.to_thread(cluster.wait_full)
            for seed in range(50):
                await node.run(ten, seed)
            took = []
            for seed in range(300):
                began = time.perf_counter()
                await node.run(ten, seed)
                took.append(time.perf_counter() - began)
            per_second = await _throughput(node)
    median = statistics.median(took) * 1000
    return [
        {"name": "ten_step_median_ms", "value": round(median, 2), "unit": "ms"},
        {"name": "ten_step_steps_per_s", "value": round(per_second), "unit": "steps/s"},
    ]


async def _throughput(node: Node, seconds: float = 5.0) -> float:
    """Return the steps a second with a hundred runs in flight."""
    steps = 0
    until = time.perf_counter() + seconds

    async def keep_running() -> None:
        nonlocal steps
        while time.perf_counter() < until:
            await node.run(ten, 0)
            steps += 10

    began = time.perf_counter()
    await asyncio.gather(*(keep_running() for _ in range(IN_FLIGHT)))
    return steps / (time.perf_counter() - began)


# ------------------------------------------------------------------ memory
def _memory() -> dict[str, Any]:
    """Three nodes that have done some work: the proportional share of memory of all three."""
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        for seed in range(100):
            member = cluster.members[seed % 3]
            body = {"name": "bench.ten", "input": {"seed": seed}, "wait_ms": 10_000}
            cluster.post(member, "/v1/runs", body)
        total = sum(_pss_kb(member) for member in cluster.members) / 1024
    return {"name": "memory_three_nodes_mb", "value": round(total, 1), "unit": "MB"}


def _pss_kb(member: Member) -> int:
    assert member.process is not None
    text = Path(f"/proc/{member.process.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


# ------------------------------------------------------------------ takeover
def _takeover() -> dict[str, Any]:
    """Kill the owner of most runs, thirty times: until a new owner has settled a step."""
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        for number in range(30):
            body = {"name": "bench.long", "input": {"turns": 5_000}, "id": f"long-{number}"}
            cluster.post(cluster.members[number % 3], "/v1/runs", body)
        took = [_one_takeover(cluster, kill) for kill in range(KILLS)]
    took.sort()
    p99 = took[min(len(took) - 1, round(0.99 * len(took)))]
    return {
        "name": "takeover_p99_ms",
        "value": round(p99),
        "unit": "ms",
        "note": f"{KILLS} kills, median {statistics.median(took):.0f} ms",
    }


def _one_takeover(cluster: Cluster, kill: int) -> float:
    """Return the milliseconds from a kill -9 to the first settlement by a new owner."""
    survivor = cluster.members[(kill + 1) % 3]
    runs = cluster.get(survivor, "/v1/runs?status=running")["runs"]
    owners = [run["owner"] for run in runs if run["owner"] != survivor.number]
    owner = max(set(owners), key=owners.count)
    orphan = next(run["id"] for run in runs if run["owner"] == owner)
    victim = cluster.members[owner - 1]
    # The newest length is read just before the kill; what was in flight then may still commit, so a
    # settlement counts only under another epoch.
    before = cluster.get(survivor, f"/v1/runs/{orphan}")
    killed_at = victim.kill()
    at_takeover: int | None = None
    while True:
        view = cluster.get(survivor, f"/v1/runs/{orphan}")
        now = time.monotonic()
        if view["epoch"] != before["epoch"]:
            if at_takeover is None:
                at_takeover = view["events"]
            elif view["events"] > at_takeover:
                break
        assert now - killed_at < 30, f"no takeover: {view}"
        time.sleep(0.005)
    victim.start()
    victim.wait_ready(cluster.client)
    cluster.wait_full()
    return (now - killed_at) * 1000
