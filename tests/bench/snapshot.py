"""What a large snapshot costs: a fourth node gets 300 MB while three others go on committing.

Four processes on loopback with RocksDB. The time stands beside that of writing the same pairs to
RocksDB and nothing else; the latency of commits during the transfer beside that just before it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from raftoral.groups.clock import SystemClock
from raftoral.groups.host import Host
from raftoral.ids import GroupId, Index, Millis, NodeId, Term
from raftoral.raft.messages import ConfChange, ConfOp, ConfState, SnapshotMeta
from raftoral.storage.rocks import RocksDisk, RocksNodeStore
from raftoral.transport.base import Local
from raftoral.transport.tcp import TcpTransport
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from raftoral.kv import Reader, Transaction
    from raftoral.values import Value

GROUP = GroupId(1)
STATE_BYTES = 300_000_000
VALUE_BYTES = 4096
VALUES_A_FILL = 64
FILLS = STATE_BYTES // (VALUE_BYTES * VALUES_A_FILL)
CALLERS = 10
PAUSE_SECONDS = 0.02
BEFORE_SECONDS = 8.0
JOINER = NodeId(4)


class Measured(NamedTuple):
    """What the leader saw, in seconds."""

    transfer: float
    before: list[float]
    during: list[float]


class Values:
    """A machine of many values: a command of eight bytes makes 64 of 4 KiB, any other one stays."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[list[Any], list[Any]]:
        """Write what ``command`` stands for."""
        if len(command) == 8:
            for key, value in fill(int.from_bytes(command, "big")):
                txn.put(key, value)
        else:
            txn.put(b"last%d" % (index % 100), command)
        return ["ok"], []

    def clock(self, reader: Reader) -> Millis:
        """No stamp is kept."""
        return Millis(0)


def fill(number: int) -> list[tuple[bytes, bytes]]:
    """Return pairs that no compression makes smaller."""
    data = Random(number).randbytes(VALUES_A_FILL * VALUE_BYTES)
    return [
        (b"value%08d" % (number * VALUES_A_FILL + n), data[n * VALUE_BYTES : (n + 1) * VALUE_BYTES])
        for n in range(VALUES_A_FILL)
    ]


def measure() -> list[dict[str, Any]]:
    """Return all figures of this module, from one run."""
    with tempfile.TemporaryDirectory() as folder:
        least = _writing_alone(f"{folder}/alone")
        measured = _in_four_processes(folder)
    before, during = _p99_ms(measured.before), _p99_ms(measured.during)
    return [
        {
            "name": "snapshot_300mb_s",
            "value": measured.transfer,
            "unit": "s",
            "ratio": measured.transfer / least,
            "against": f"written to RocksDB alone {least:.2f} s",
        },
        {
            "name": "commit_p99_during_snapshot_ms",
            "value": during,
            "unit": "ms",
            "ratio": during / before,
            "against": f"just before {before:.2f} ms",
        },
    ]


def _p99_ms(spans: list[float]) -> float:
    return statistics.quantiles(spans, n=100)[98] * 1_000


def _writing_alone(folder: str) -> float:
    """Return the seconds that the same pairs take into the same database, without anything else."""
    disk = RocksDisk(folder)
    spent = 0.0
    for number in range(FILLS):
        pairs = fill(number)
        began = time.perf_counter()
        batch = disk.batch()
        for key, value in pairs:
            batch.put(key, value)
        disk.write(batch, sync=number == FILLS - 1)
        spent += time.perf_counter() - began
    disk.close()
    return spent


# ------------------------------------------------------------------ processes
def _in_four_processes(folder: str) -> Measured:
    """Start three members and the joiner; the first one measures and reports."""
    context = multiprocessing.get_context("spawn")
    ports = [free_port() for _ in range(4)]
    report, reports = context.Pipe()
    processes = [
        context.Process(target=_process, args=(n, ports, f"{folder}/{n}", reports), daemon=True)
        for n in (4, 3, 2, 1)
    ]
    for process in processes:
        process.start()
    try:
        if not report.poll(300):
            raise RuntimeError("the measuring process did not report within five minutes")
        return Measured(*report.recv())
    finally:
        for process in processes:
            process.kill()
            process.join()


def _process(number: int, ports: list[int], folder: str, report: Connection) -> None:
    asyncio.run(_node(NodeId(number), ports, folder, report))


async def _node(node: NodeId, ports: list[int], folder: str, report: Connection) -> None:
    chance = Random().randrange
    clock = SystemClock()
    peers = {NodeId(n): f"127.0.0.1:{port}" for n, port in enumerate(ports, start=1)}
    transport = TcpTransport(
        Local("bench", node, f"n{node}"), peers[node], wall=clock.wall, chance=chance
    )
    host = Host(node, RocksNodeStore(folder), transport, clock, chance)
    conf = ConfState(voters=tuple(peer for peer in peers if peer != JOINER))
    first = None if node == JOINER else SnapshotMeta(Index(1), Term(1), conf)
    group = host.add_group(GROUP, Values(), bootstrap=first)

    async def applied(_sender: NodeId, _body: Value) -> Value:
        return group.store.applied

    transport.serve("applied", applied)
    await transport.start()
    transport.set_peers(peers)
    host.start()
    if node == 1:
        while not group.reigns or len(transport.connected()) < 3:
            if group.leader not in (0, node):
                host.transfer_leadership(GROUP, node)
            await asyncio.sleep(0.1)
        report.send(await _measured(host, transport))
    await asyncio.Event().wait()


async def _measured(host: Host, transport: TcpTransport) -> Measured:
    """Fill the machine, then let a node join under way."""
    for start in range(0, FILLS, 16):
        fills = range(start, min(start + 16, FILLS))
        await asyncio.gather(*(host.propose(GROUP, n.to_bytes(8, "big"), 60) for n in fills))
    await asyncio.sleep(2)  # What the database does in the background is no part of this.
    spans: list[float] = []

    async def caller(number: int) -> None:
        await asyncio.sleep(PAUSE_SECONDS * number / CALLERS)
        while True:
            began = time.perf_counter()
            await host.propose(GROUP, b"x" * 200, 10)
            spans.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_SECONDS)

    callers = [asyncio.create_task(caller(number)) for number in range(CALLERS)]
    await asyncio.sleep(BEFORE_SECONDS)
    before = spans.copy()
    spans.clear()
    began = time.perf_counter()
    change = ConfChange(((ConfOp.ADD_LEARNER, JOINER),))
    await host.propose_conf_change(GROUP, change, 10)
    while True:
        goal = host.groups[GROUP].store.applied
        reached = await transport.call(JOINER, "applied", None, 30)
        assert isinstance(reached, int)
        if reached >= goal:
            break
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    during = spans.copy()
    for each in callers:
        each.cancel()
        with suppress(asyncio.CancelledError):
            await each
    return Measured(took, before, during)


if __name__ == "__main__":
    for figure in measure():
        print(
            f"{figure['name']}: {figure['value']:,.3f} {figure['unit']} "
            f"({figure['ratio']:.2f} of {figure['against']})"
        )
