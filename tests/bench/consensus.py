"""What a commit costs: three processes, loopback sockets, RocksDB with a sync in every batch.

Each figure stands beside that of a floor program measured in the same run: the same processes,
syncs and bytes on the wire, but no protocol, no checks, no election, nothing that survives a fault.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import struct
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from raftoral.groups.clock import SystemClock
from raftoral.groups.host import Host
from raftoral.ids import GroupId, Index, Millis, NodeId, Term
from raftoral.raft.messages import ConfState, SnapshotMeta
from raftoral.security.certificates import create_authority, issue
from raftoral.security.tls import Tls, TlsFiles
from raftoral.storage.rocks import RocksNodeStore
from raftoral.transport.base import Local
from raftoral.transport.tcp import TcpTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from multiprocessing.connection import Connection

    from raftoral.kv import Reader, Transaction

COMMAND = bytes(range(200))
WARM_UP = 200
ONE_BY_ONE = 1_500
IN_FLIGHT = 1_000
SECONDS = 4.0
GROUP = GroupId(1)


class Figures(NamedTuple):
    """What one program reached."""

    commit_ms: float
    per_second: float
    leader_cpu_us: float
    """Processor time of the leader a commit, one caller."""
    follower_cpu_us: float
    """The same of one follower, the mean of both."""


class Place(NamedTuple):
    """Where one of the three processes stands; the first one measures and reports."""

    number: int
    ports: list[int]
    folder: str
    report: Connection
    followers: list[Connection]
    """For the first one: where it asks the others for their processor time."""


# ------------------------------------------------------------------ figures
def floor_commit_ms() -> dict[str, Any]:
    """Median of one commit of the floor program, one caller."""
    return figure("floor_commit_ms", floor().commit_ms, "ms", 1.0, "itself")


def durable_commit_median() -> dict[str, Any]:
    """Median of one synced commit on three nodes, one caller on the leader."""
    ours, least = consensus().commit_ms, floor().commit_ms
    return figure("durable_commit_median", ours, "ms", ours / least, f"floor {least:.3f} ms")


def mtls_commit_median() -> dict[str, Any]:
    """The same commit with certificates: what sealing every frame adds to the plain one."""
    sealed, plain = consensus_over_tls().commit_ms, consensus().commit_ms
    return figure("mtls_commit_median", sealed, "ms", sealed / plain, f"plain {plain:.3f} ms")


def proposals_per_s() -> dict[str, Any]:
    """Commands of 200 bytes a second on three nodes, synced, 1,000 callers on the leader."""
    ours, most = consensus().per_second, floor().per_second
    return figure("proposals_per_s", ours, "1/s", ours / most, f"floor {most:,.0f}/s")


def leader_commit_cpu_us() -> dict[str, Any]:
    """Processor time that one commit costs the leader, one caller: steadier than its latency."""
    ours, least = consensus().leader_cpu_us, floor().leader_cpu_us
    return figure("leader_commit_cpu_us", ours, "us", ours / least, f"floor {least:.0f} us")


def follower_commit_cpu_us() -> dict[str, Any]:
    """Processor time that one commit costs each follower, one caller."""
    ours, least = consensus().follower_cpu_us, floor().follower_cpu_us
    return figure("follower_commit_cpu_us", ours, "us", ours / least, f"floor {least:.0f} us")


def measure() -> list[dict[str, Any]]:
    """Return all figures of this module, from one run."""
    return [
        floor_commit_ms(),
        durable_commit_median(),
        mtls_commit_median(),
        leader_commit_cpu_us(),
        follower_commit_cpu_us(),
        proposals_per_s(),
    ]


def figure(name: str, value: float, unit: str, ratio: float, against: str) -> dict[str, Any]:
    """Return one row of the table."""
    return {"name": name, "value": value, "unit": unit, "ratio": ratio, "against": against}


@cache
def floor() -> Figures:
    """Run the floor program once."""
    return in_three_processes(_floor_process)


@cache
def consensus() -> Figures:
    """Run three real nodes once."""
    return in_three_processes(node_process)


@cache
def consensus_over_tls() -> Figures:
    """Run three real nodes that talk by mutual TLS once."""
    with tempfile.TemporaryDirectory() as folder:
        now = datetime.now(UTC)
        create_authority(Path(folder), "bench", now)
        for number in (1, 2, 3):
            issue(Path(folder), f"n{number}", [], now)
        return in_three_processes(partial(node_process, certificates=folder))


async def _figures(place: Place, commit: Callable[[bytes], Awaitable[object]]) -> Figures:
    """Measure a way of committing: one caller, then a thousand."""
    for _ in range(WARM_UP):
        await commit(COMMAND)
    spans = []
    cpu_before = _processor_seconds(place)
    for _ in range(ONE_BY_ONE):
        began = time.perf_counter()
        await commit(COMMAND)
        spans.append(time.perf_counter() - began)
    leader, *followers = (
        (after - before) / ONE_BY_ONE * 1_000_000
        for before, after in zip(cpu_before, _processor_seconds(place), strict=True)
    )
    done = 0
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < began + SECONDS:
            await commit(COMMAND)
            done += 1

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return Figures(
        statistics.median(spans) * 1_000,
        done / (time.perf_counter() - began),
        leader,
        statistics.mean(followers),
    )


def _processor_seconds(place: Place) -> list[float]:
    """Return the processor time that the leader and each follower have used."""
    for follower in place.followers:
        follower.send(None)
    return [time.process_time(), *(follower.recv() for follower in place.followers)]


def _tell_processor_time(place: Place) -> None:
    """Answer from now on when the first process asks for this one's processor time."""

    def answer() -> None:
        place.report.recv()
        place.report.send(time.process_time())

    asyncio.get_running_loop().add_reader(place.report.fileno(), answer)


# ------------------------------------------------------------------ processes


def in_three_processes(target: Callable[[Place], None]) -> Figures:
    """Start three processes; the first one measures and reports, then all are stopped."""
    context = multiprocessing.get_context("spawn")
    with _free_ports(3) as ports, tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe() for _ in ports]
        followers = [pipe[0] for pipe in pipes[1:]]
        places = [
            Place(n, ports, f"{folder}/{n}", pipes[n][1], [] if n else followers) for n in range(3)
        ]
        processes = [context.Process(target=target, args=(place,), daemon=True) for place in places]
        for process in reversed(processes):
            process.start()
        try:
            if not pipes[0][0].poll(120):
                raise RuntimeError("the measuring process did not report within two minutes")
            return Figures(*pipes[0][0].recv())
        finally:
            for process in processes:
                process.kill()
                process.join()


@contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    yield ports


# ------------------------------------------------------------------ the real thing
class Register:
    """A machine that keeps the last hundred commands."""

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[list[Any], list[Any]]:
        """Keep ``command``."""
        txn.put(b"%d" % (index % 100), command)
        return ["ok"], []

    def clock(self, reader: Reader) -> Millis:
        """No stamp is kept."""
        return Millis(0)


def node_process(place: Place, certificates: str = "", host_type: type[Host] = Host) -> None:
    """Be one of three nodes, with certificates if there are any."""
    asyncio.run(_node(place, certificates, host_type))


async def _node(place: Place, certificates: str, host_type: type[Host]) -> None:
    node = NodeId(place.number + 1)
    chance = Random().randrange
    clock = SystemClock()
    peers = {NodeId(n + 1): f"127.0.0.1:{port}" for n, port in enumerate(place.ports)}
    local = Local("bench", node, f"n{node}")
    files = TlsFiles.of_folder(Path(certificates) / local.name)
    tls = Tls(files, datetime.now(UTC)) if certificates else None
    transport = TcpTransport(local, peers[node], wall=clock.wall, chance=chance, tls=tls)
    transport.name_of = {peer: f"n{peer}" for peer in peers}.get
    host = host_type(node, RocksNodeStore(place.folder), transport, clock, chance)
    conf = ConfState(voters=tuple(peers))
    group = host.add_group(GROUP, Register(), bootstrap=SnapshotMeta(Index(1), Term(1), conf))
    await transport.start()
    transport.set_peers(peers)
    host.start()
    if place.followers:
        while not group.reigns:
            if group.leader not in (0, node):
                host.transfer_leadership(GROUP, node)
            await asyncio.sleep(0.1)
        figures = await _figures(place, lambda command: host.propose(GROUP, command, 10))
        place.report.send(figures)
    else:
        _tell_processor_time(place)
    await asyncio.Event().wait()


# ------------------------------------------------------------------ the floor
class _Disk:
    """Entries in RocksDB, one synced batch at a time."""

    def __init__(self, folder: str) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        Path(folder).mkdir()
        self._db = Rdict(folder, options=options)
        self._synced = WriteOptions()
        self._synced.sync = True

    def write(self, first: int, entries: list[bytes]) -> None:
        batch = WriteBatch(raw_mode=True)
        for number, entry in enumerate(entries, start=first):
            batch.put(number.to_bytes(8, "big"), entry)
        self._db.write(batch, self._synced)


_LENGTHS = struct.Struct(">IQ")
_ENTRY = len(COMMAND)


class _Pipe(asyncio.Protocol):
    """Messages of a number and entries of one size over a socket."""

    def __init__(self, on: Callable[[_Pipe, int, list[bytes]], None]) -> None:
        self._on = on
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, number: int, data: bytes = b"") -> None:
        self._transport.write(_LENGTHS.pack(len(data), number) + data)

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        at = 0
        while len(data) - at >= _LENGTHS.size:
            length, number = _LENGTHS.unpack_from(data, at)
            start = at + _LENGTHS.size
            if len(data) < start + length:
                break
            at = start + length
            self._on(self, number, [data[n : n + _ENTRY] for n in range(start, at, _ENTRY)])
        self._data = data[at:]


def _floor_process(place: Place) -> None:
    asyncio.run(_floor_leader(place) if place.followers else _floor_follower(place))


async def _floor_follower(place: Place) -> None:
    disk = _Disk(place.folder)

    def on(pipe: _Pipe, first: int, entries: list[bytes]) -> None:
        disk.write(first, entries)
        pipe.send(first + len(entries) - 1)

    await asyncio.get_running_loop().create_server(
        lambda: _Pipe(on), "127.0.0.1", place.ports[place.number]
    )
    _tell_processor_time(place)
    await asyncio.Event().wait()


async def _floor_leader(place: Place) -> None:
    loop = asyncio.get_running_loop()
    disk = _Disk(place.folder)
    stored: dict[_Pipe | None, int] = {}
    queue: list[tuple[bytes, asyncio.Future[None]]] = []
    waiting: dict[int, asyncio.Future[None]] = {}
    last = committed = 0

    def on(pipe: _Pipe | None, number: int, _entries: list[bytes]) -> None:
        nonlocal committed
        stored[pipe] = number
        while committed < sorted(stored.values())[-2]:
            committed += 1
            waiting.pop(committed).set_result(None)

    def flush() -> None:
        nonlocal last
        entries = [entry for entry, _ in queue]
        for number, (_, future) in enumerate(queue, start=last + 1):
            waiting[number] = future
        queue.clear()
        for pipe in pipes:
            pipe.send(last + 1, b"".join(entries))
        disk.write(last + 1, entries)
        last += len(entries)
        on(None, last, [])

    def commit(command: bytes) -> asyncio.Future[None]:
        if not queue:
            loop.call_soon(flush)
        future: asyncio.Future[None] = loop.create_future()
        queue.append((command, future))
        return future

    pipes = [await _connected(port, on) for port in place.ports[1:]]
    stored.update(dict.fromkeys(pipes, 0))
    place.report.send(await _figures(place, commit))
    await asyncio.Event().wait()


async def _connected(port: int, on: Callable[[_Pipe, int, list[bytes]], None]) -> _Pipe:
    while True:
        try:
            _, pipe = await asyncio.get_running_loop().create_connection(
                lambda: _Pipe(on), "127.0.0.1", port
            )
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return pipe


if __name__ == "__main__":
    for figure in measure():
        print(
            f"{figure['name']}: {figure['value']:,.3f} {figure['unit']} "
            f"({figure['ratio']:.2f} of {figure['against']})"
        )
