"""A hundred thousand runs that sleep in one group: what each takes, and how they wake.

Each part is a process of its own, since memory is measured: `fill` starts the runs on an empty disk,
`restart` opens what that left, `trace` counts what Python allocates, which takes twice the time, for
fewer runs. Each prints what it measured as a line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftoral import Node
from raftoral.runtime.executor import GENERATORS_MAX
from tests.bench.app import doze, registry
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

RUNS = 100_000
IN_FLIGHT = 200
TRACED = 6_000
"""So many runs are traced."""
PAGE = 1_000
LATE_MS_MAX = 1_000
"""How late the run with the short timer may be."""


def measure() -> list[dict[str, Any]]:
    """Return the figures, one dict each."""
    with tempfile.TemporaryDirectory() as folder:
        filled, restarted = _part("fill", folder), _part("restart", folder)
    with tempfile.TemporaryDirectory() as folder:
        traced = _part("trace", folder)["traced"]
    return [
        {
            "name": "sleeping_runs_live",
            "value": filled["live"],
            "unit": "runs",
            "note": f"counted by a list of status running, in {filled['list_s']:.1f} s",
        },
        {"name": "sleeping_runs_begun", "value": round(filled["per_s"]), "unit": "runs/s"},
        {
            "name": "bytes_per_sleeping_run",
            "value": round(traced),
            "unit": "bytes",
            "note": f"{TRACED:,} runs beyond those with a generator, allocated by Python",
        },
        {
            "name": "resident_bytes_per_sleeping_run",
            "value": round(filled["resident"]),
            "unit": "bytes",
            "note": "of the process, storage included, beyond the runs with a generator",
        },
        {"name": "wake_one_of_100000_ms", "value": round(filled["wake_ms"], 1), "unit": "ms"},
        {
            "name": "restart_with_100000_serves_ms",
            "value": round(restarted["serves_ms"]),
            "unit": "ms",
            "note": "from the start of the process until a new run has completed",
        },
        {
            "name": "restart_with_100000_wakes_ms",
            "value": round(restarted["wakes_ms"]),
            "unit": "ms",
            "note": "until one that slept has",
        },
        {
            "name": "restart_with_100000_followed_ms",
            "value": round(restarted["followed_ms"]),
            "unit": "ms",
            "note": f"until all are replayed; {restarted['resident_mb']:.0f} MB then",
        },
    ]


def _part(name: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.sleepers", name, folder, str(time.monotonic())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


# ------------------------------------------------------------------ in a process of its own
async def fill(folder: str, _begun: float) -> dict[str, float]:
    """Start the runs; return how fast, what they take, and how soon the oldest wakes."""
    async with _node(folder) as node:
        await _fall_asleep(node, 2 * GENERATORS_MAX)  # the memory that the first ones take once
        early = await node.start_run(doze, ["20s"], id="early")
        count, before, began = 2 * GENERATORS_MAX + 1, _resident(), time.perf_counter()
        left = RUNS + 1 - count  # and the early one ends
        await _fall_asleep(node, left)
        took = time.perf_counter() - began
        resident = (_resident() - before) / left
        view = await node.wait(early.id, 60)
        late = (view.ended_at or 0) - view.started_at - 20_000
        assert (view.status, late < LATE_MS_MAX) == ("completed", True), f"a late timer: {view}"
        listing = time.perf_counter()
        live = await _live(node)
        listed = time.perf_counter() - listing
        assert live == {"running": RUNS}, live
        woken = await _wake(node, "doze-7")
    return {
        "live": live["running"],
        "list_s": listed,
        "per_s": left / took,
        "resident": resident,
        "wake_ms": woken,
    }


async def trace(folder: str, _begun: float) -> dict[str, float]:
    """Return what a run that sleeps takes of what Python allocates."""
    async with _node(folder) as node:
        tracemalloc.start()
        # As many as have a generator, and the entries that the log keeps in memory, first.
        await _fall_asleep(node, 2 * GENERATORS_MAX + TRACED // 2)
        before = tracemalloc.get_traced_memory()[0]
        await _fall_asleep(node, TRACED)
        return {"traced": (tracemalloc.get_traced_memory()[0] - before) / TRACED}


async def restart(folder: str, begun: float) -> dict[str, float]:
    """Open what `fill` left; return how long until the node serves, since ``begun``."""
    async with _node(folder) as node:
        await node.run(doze, "1ms", timeout=120)
        serves = time.monotonic() - begun
        await _wake(node, "doze-50000")
        wakes = time.monotonic() - begun
        # Replayed in the order of their ids; what a run waits for is known once it was.
        while not (await node.show("doze-99999")).waiting_for:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        followed = time.monotonic() - begun
        live = await _live(node)
        assert live == {"running": RUNS - 2}, live
    return {
        "serves_ms": serves * 1_000,
        "wakes_ms": wakes * 1_000,
        "followed_ms": followed * 1_000,
        "resident_mb": _resident() / 1e6,
    }


@asynccontextmanager
async def _node(folder: str) -> AsyncIterator[Node]:
    listen = f"127.0.0.1:{free_port()}"
    async with Node(registry, data=f"{folder}/node", listen=listen, groups=1) as node:
        yield node


_NUMBERS = iter(range(10 * RUNS))


async def _fall_asleep(node: Node, count: int) -> None:
    """Start so many runs that sleep, and wait until all of them do."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await node.start_run(doze, ["24h"], id=f"doze-{next(_NUMBERS)}")

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
    await asyncio.sleep(1)
    gc.collect()


async def _live(node: Node) -> dict[str, int]:
    """Return how many runs there are of each status that a live run may have."""
    counted: Counter[str] = Counter()
    for status in ("running", "paused", "parked"):
        after = None
        while page := await node.list(status, limit=PAGE, after=after):  # type: ignore[arg-type]
            counted.update(view.status for view in page)
            after = page[-1].id
    return dict(counted)


async def _wake(node: Node, run_id: str) -> float:
    """Signal a run that sleeps; return the milliseconds until it has completed."""
    began = time.perf_counter()
    await node.signal(run_id, "wake", "now")
    view = await node.wait(run_id, 120)
    assert (view.status, view.result) == ("completed", "now"), view
    return (time.perf_counter() - began) * 1_000


def _resident() -> int:
    """Return the bytes of this process that are in memory."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")
    )


PARTS: dict[str, Callable[[str, float], Coroutine[Any, Any, dict[str, float]]]] = {
    "fill": fill,
    "restart": restart,
    "trace": trace,
}

if __name__ == "__main__":
    part, where, begun = sys.argv[1:]
    print(json.dumps(asyncio.run(PARTS[part](where, float(begun)))))
