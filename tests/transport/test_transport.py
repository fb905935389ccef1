"""What both transports promise; and the handshake, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import (
    NotLeader,
    ProposalUnknown,
    RaftoralError,
    RunConflict,
    Unavailable,
    UsageError,
    WorkflowFailed,
)
from raftoral.ids import GroupId, Millis, NodeId
from raftoral.transport import connection, tcp
from raftoral.transport.base import Local
from raftoral.transport.frame import Decoder, Frame, Kind, encode, frame_of
from raftoral.transport.memory import MemoryNetwork, MemoryTransport
from raftoral.transport.tcp import TcpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from raftoral.values import Value

WALL = Millis(1_700_000_000_000)
ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)


@dataclass
class Seen:
    """A transport and all it reported."""

    transport: TcpTransport | MemoryTransport
    frames: list[tuple[NodeId, Frame]] = field(default_factory=list)
    ups: list[NodeId] = field(default_factory=list)
    downs: list[NodeId] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen to everything."""
        self.transport.on_frame = lambda sender, frame: self.frames.append((sender, frame))
        self.transport.on_peer_up = lambda node, wall: self.ups.append(node)
        self.transport.on_peer_down = self.downs.append


class Cluster:
    """Makes transports of one sort and takes them down again."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.network = MemoryNetwork(lambda: WALL)
        self.all: list[Seen] = []

    async def add(self, node: int, cluster: str = "c", name: str = "") -> Seen:
        """Return a started transport; node 0 is a stranger."""
        local = Local(cluster, NodeId(node), name or f"n{node}")
        transport: TcpTransport | MemoryTransport
        if self.sort == "tcp":
            transport = tcp_transport(local)
        else:
            transport = self.network.transport(local, f"10.0.0.{len(self.all)}:1")
        seen = Seen(transport)
        await transport.start()
        self.all.append(seen)
        return seen

    async def pair(self) -> tuple[Seen, Seen]:
        """Return nodes 1 and 2, connected."""
        one, two = await self.add(1), await self.add(2)
        introduce(one, two)
        await until(lambda: one.ups == [TWO] and two.ups == [ONE])
        return one, two


def tcp_transport(local: Local, listen: str = "127.0.0.1:0") -> TcpTransport:
    """Return a transport on a free port."""
    return TcpTransport(local, listen, wall=lambda: WALL, chance=Random(1).randrange)


def introduce(*all_seen: Seen) -> None:
    """Tell everyone everyone's address."""
    peers = {seen.transport.local.node: seen.transport.address for seen in all_seen}
    for seen in all_seen:
        seen.transport.set_peers(peers)


async def until(true: Callable[[], bool], timeout: float = 5) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(timeout):
        while not true():  # noqa: ASYNC110  # what is waited for is any predicate
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(sort: str) -> AsyncIterator[Cluster]:
    """A cluster that is closed at the end."""
    cluster = Cluster(sort)
    try:
        yield cluster
    finally:
        for seen in cluster.all:
            await seen.transport.close()


def on(sort: str, test: Callable[[Cluster], Coroutine[None, None, None]]) -> None:
    """Run one test in a loop of its own."""

    async def main() -> None:
        async with running(sort) as cluster:
            await test(cluster)

    asyncio.run(main())


both = pytest.mark.parametrize("sort", ["tcp", "memory"])


# ------------------------------------------------------------------ both transports
@both
def test_frames_arrive_in_order(sort: str) -> None:
    """Frames travel both ways over the one connection of a pair, in order."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        frames = [Frame(Kind.PROPOSE, GroupId(n), [n, b"x" * n]) for n in range(500)]
        assert all(one.transport.send(TWO, frame) for frame in frames)
        assert all(two.transport.send(ONE, frame) for frame in frames)
        one.transport.flush()
        two.transport.flush()
        await until(lambda: len(one.frames) == len(two.frames) == 500)
        assert two.frames == [(ONE, frame) for frame in frames]
        assert one.frames == [(TWO, frame) for frame in frames]
        assert not one.transport.send(THREE, frames[0])

    on(sort, test)


@both
def test_calls_and_their_errors(sort: str) -> None:
    """A call returns the handler's answer or raises the handler's own error."""
    raised: list[RaftoralError] = [
        RunConflict("taken"),
        NotLeader(NodeId(7)),
        NotLeader(None),
        WorkflowFailed("Declined", "no money", {"sum": 3}, attempts=2),
        ProposalUnknown("who knows"),
    ]

    async def handler(sender: NodeId, body: Value) -> Value:
        if isinstance(body, int):
            raise raised[body]
        if body == "bug":
            raise KeyError("bug")
        return [sender, body]

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        two.transport.serve("echo", handler)
        assert await one.transport.call(TWO, "echo", {"a": [1]}, 2) == [1, {"a": [1]}]
        for n, error in enumerate(raised):
            with pytest.raises(type(error)) as caught:
                await one.transport.call(TWO, "echo", n, 2)
            assert vars(caught.value) == vars(error)
            assert str(caught.value) == str(error)
        assert await two.transport.call(TWO, "echo", ["self"], 2) == [2, ["self"]]
        for node in (ONE, TWO):
            with pytest.raises(UsageError, match="no call"):
                await one.transport.call(node, "nothing", None, 2)
        with pytest.raises(RaftoralError, match="KeyError"):
            await one.transport.call(TWO, "echo", "bug", 2)
        with pytest.raises(Unavailable):
            await one.transport.call(THREE, "echo", None, 2)

    on(sort, test)


@both
def test_lost_answers_are_unknown(sort: str) -> None:
    """A call whose connection breaks, or that takes too long, may have taken effect."""

    async def slow(_sender: NodeId, _body: Value) -> Value:
        await asyncio.sleep(30)
        return None

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        two.transport.serve("slow", slow)
        with pytest.raises(ProposalUnknown, match="within"):
            await one.transport.call(TWO, "slow", None, 0.02)
        waiting = asyncio.ensure_future(one.transport.call(TWO, "slow", None, 20))
        await asyncio.sleep(0.02)
        two.transport.hang_up(ONE)
        with pytest.raises(ProposalUnknown, match="broke"):
            await waiting
        await until(lambda: one.downs == [TWO] and two.downs == [ONE])

    on(sort, test)


@both
def test_strangers_reach_open_methods_only(sort: str) -> None:
    """A joiner without an id calls by address what is open to strangers, and nothing else."""

    async def hello(sender: NodeId, _body: Value) -> Value:
        return ["hello", sender]

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        joiner = await cluster.add(0, cluster="")
        one.transport.serve("join", hello, open_to_strangers=True)
        one.transport.serve("secret", hello)
        address = one.transport.address
        assert await joiner.transport.call(address, "join", None, 2) == ["hello", 0]
        with pytest.raises(UsageError, match="for you"):
            await joiner.transport.call(address, "secret", None, 2)
        assert one.ups == []

    on(sort, test)


@both
def test_peers_that_left_are_cut_off(sort: str) -> None:
    """A node that is no peer any more is hung up on, and a returning one connects again."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        two.transport.set_peers({})
        await until(lambda: one.downs == [TWO] and two.downs == [ONE])
        introduce(one, two)
        await until(lambda: one.ups == [TWO, TWO] and two.ups == [ONE, ONE])

    on(sort, test)


# ------------------------------------------------------------------ sockets
def test_reconnects_after_a_restart() -> None:
    """A peer that comes back at its address is dialled again, with pauses that grow to a second."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        address = one.transport.address
        await one.transport.close()
        await until(lambda: two.downs == [ONE])
        again = Seen(tcp_transport(Local("c", ONE, "n1"), address))
        await again.transport.start()
        cluster.all.append(again)
        await until(lambda: again.ups == [TWO] and two.ups == [ONE, ONE])

    on("tcp", test)


def test_a_node_is_back_at_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that moved dials those that look for it where it was, also with the lowest id."""
    monkeypatch.setattr(tcp, "PATIENCE_S", 0.05)

    async def test(cluster: Cluster) -> None:
        one, two, three = [await cluster.add(node) for node in (1, 2, 3)]
        introduce(one, two, three)
        everyone = [seen.transport for seen in (one, two, three)]
        await until(lambda: [len(each.connected()) for each in everyone] == [2, 2, 2])
        before = one.transport.address
        await one.transport.close()
        await until(lambda: two.downs == three.downs == [ONE])
        again = await cluster.add(1)
        assert again.transport.address != before
        again.transport.set_peers({TWO: two.transport.address, THREE: three.transport.address})
        await until(lambda: again.transport.connected() == [TWO, THREE])
        await until(lambda: two.ups.count(ONE) == three.ups.count(ONE) == 2)
        # Its connections serve both ends, and stay once the others know where it is.
        introduce(again, two, three)
        await asyncio.sleep(0.2)
        assert two.transport.send(ONE, Frame(Kind.PROPOSE, GroupId(0), []))
        two.transport.flush()
        await until(lambda: len(again.frames) == 1)
        assert again.downs == []

    on("tcp", test)


def test_a_pair_that_dials_at_once_keeps_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both ends dial, both keep the connection that the higher id has dialled."""
    monkeypatch.setattr(tcp, "PATIENCE_S", 0)

    async def test(cluster: Cluster) -> None:
        for _ in range(20):
            one, two = await cluster.add(1), await cluster.add(2)
            introduce(one, two)
            await until(lambda: bool(one.ups) and bool(two.ups))  # noqa: B023  # awaited at once
            await asyncio.sleep(0.02)
            (low,), (high,) = [
                [each for each in seen.transport._all if each.peer]  # type: ignore[union-attr]
                for seen in (one, two)
            ]
            assert (low.has_dialled, high.has_dialled) in ((False, True), (True, False))
            assert one.transport.connected() == [TWO]
            assert two.transport.connected() == [ONE]
            assert len(one.ups) - len(one.downs) == len(two.ups) - len(two.downs) == 1

    on("tcp", test)


def test_the_higher_id_s_connection_wins() -> None:
    """A lower id is refused while a connection of this node's own making is open."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        (answer,) = await greeted(two, frame_of(Kind.HELLO, 1, "c", 1, "n1", 0))
        assert answer.kind is Kind.REFUSED
        assert "connected already" in answer.body[0]
        assert (one.downs, two.downs) == ([], [])

    on("tcp", test)


def test_wrong_cluster_is_refused_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A node of another cluster gets the reason; both ends log it once, however often it dials."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.add(1), await cluster.add(2, cluster="other")
        introduce(one, two)
        dialler = two.transport
        assert isinstance(dialler, TcpTransport)
        await until(lambda: ONE in dialler.refusals)
        await asyncio.sleep(0.3)
        assert "of cluster 'other', this node of 'c'" in dialler.refusals[ONE]
        assert one.ups == two.ups == []
        assert len(caplog.records) == 2

    on("tcp", test)


@pytest.mark.parametrize(
    ("local", "reason"),
    [
        (Local("c", NodeId(2), "n2"), "which is this node"),
        (Local("c", NodeId(3), "thief"), "connected as 'n3'"),
        (Local("other", NodeId(0), "joiner"), "of cluster"),
    ],
)
def test_impostors_are_refused(local: Local, reason: str) -> None:
    """Who claims an id that cannot be its own is told why and cut off; the real one stays."""

    async def test(cluster: Cluster) -> None:
        two, three = await cluster.add(2), await cluster.add(3)
        introduce(two, three)
        await until(lambda: two.ups == [THREE])
        answers = await greeted(
            two, frame_of(Kind.HELLO, 1, local.cluster, local.node, local.name, 0)
        )
        assert [frame.kind for frame in answers] == [Kind.REFUSED]
        assert reason in answers[0].body[0]
        assert two.transport.connected() == [THREE]

    on("tcp", test)


def test_who_was_removed_is_refused_and_told_so() -> None:
    """A node that left the cluster is let in by nobody, and its application learns why."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.add(1), await cluster.add(2)
        listener, dialler = one.transport, two.transport
        assert isinstance(listener, TcpTransport)
        assert isinstance(dialler, TcpTransport)
        listener.is_removed = lambda node: node == TWO
        told: list[str] = []
        dialler.on_expelled = lambda: told.append("expelled")
        dialler.set_peers({ONE: listener.address})
        await until(lambda: bool(told) and ONE in dialler.refusals)
        assert "was removed from the cluster" in dialler.refusals[ONE]
        assert (one.ups, two.ups) == ([], [])

    on("tcp", test)


def test_wrong_protocol_is_refused() -> None:
    """Another protocol version is refused with both numbers."""

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        (answer,) = await greeted(one, frame_of(Kind.HELLO, 9, "c", 3, "n3", 0))
        assert answer.body == ["it speaks protocol 9, this node 1"]

    on("tcp", test)


@pytest.mark.parametrize(
    "first",
    [
        encode(frame_of(Kind.BEAT, 1)),
        encode(frame_of(Kind.HELLO, 1, "c", -1, "n3", 0)),
        encode(frame_of(Kind.HELLO, 1, "c", 3, "n" * 201, 0)),
        encode(frame_of(Kind.REFUSED, "no")),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_who_does_not_greet_is_cut_off(first: bytes) -> None:
    """A connection that begins with anything but a proper hello is closed unanswered."""

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        assert await greeted(one, first) == []
        assert one.frames == []

    on("tcp", test)


def test_silent_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never greets is closed after the handshake's time."""
    monkeypatch.setattr(connection, "HANDSHAKE_TIMEOUT_S", 0.02)

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        assert await greeted(one, b"") == []

    on("tcp", test)


def test_frames_of_a_stranger_are_refused() -> None:
    """A stranger that sends anything but calls is cut off and nothing reaches the node."""

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        hello = encode(frame_of(Kind.HELLO, 1, "", 0, "x", 0))
        answers = await greeted(one, hello + encode(Frame(Kind.PROPOSE, GroupId(0), [0, b""])))
        assert [frame.kind for frame in answers] == [Kind.HELLO]
        assert one.frames == []

    on("tcp", test)


def test_the_wrong_node_at_an_address() -> None:
    """A dialler that reaches another node than it wanted does not talk to it."""

    async def test(cluster: Cluster) -> None:
        one, three = await cluster.add(1), await cluster.add(3)
        dialler = three.transport
        assert isinstance(dialler, TcpTransport)
        dialler.set_peers({TWO: one.transport.address})
        await until(lambda: TWO in dialler.refusals)
        assert "is node 1, not node 2" in dialler.refusals[TWO]
        await until(lambda: one.downs == [THREE])
        assert dialler.connected() == []

    on("tcp", test)


def test_the_queue_of_a_stuck_peer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames for a peer that reads nothing are refused once the bound is reached."""
    monkeypatch.setattr(connection, "QUEUE_BYTES_MAX", 1_000_000)

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        host, port = one.transport.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(encode(frame_of(Kind.HELLO, 1, "c", 3, "n3", 0)))
        await until(lambda: one.ups == [THREE])
        frame = Frame(Kind.PROPOSE, GroupId(0), [0, b"x" * 100_000])
        sent = 0
        while one.transport.send(THREE, frame):
            one.transport.flush()
            await asyncio.sleep(0)
            sent += 1
            assert sent < 1_000
        with pytest.raises(Unavailable):
            await one.transport.call(THREE, "m", None, 1)
        assert len(await reader.readexactly(1_000_000)) == 1_000_000
        writer.close()

    on("tcp", test)


def test_a_taken_port_is_named() -> None:
    """Listening on a taken port is a usage error that names the address."""

    async def test(cluster: Cluster) -> None:
        one = await cluster.add(1)
        second = tcp_transport(Local("c", TWO, "n2"), one.transport.address)
        with pytest.raises(UsageError, match=one.transport.address):
            await second.start()

    on("tcp", test)


def test_a_joiner_becomes_a_member() -> None:
    """A joiner that was given its id connects as that node from then on."""

    async def test(cluster: Cluster) -> None:
        one, joiner = await cluster.add(1), await cluster.add(0, cluster="")
        joiner.transport.become(Local("c", TWO, "n2"))
        introduce(one, joiner)
        await until(lambda: one.ups == [TWO] and joiner.ups == [ONE])

    on("tcp", test)


def test_a_dead_address_is_unavailable() -> None:
    """A call to an address where nobody listens ends at once with a reason."""

    async def test(cluster: Cluster) -> None:
        one, joiner = await cluster.add(1), await cluster.add(0, cluster="")
        address = one.transport.address
        await one.transport.close()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await joiner.transport.call(address, "join", None, 2)
        with pytest.raises(UsageError, match="host:port"):
            await joiner.transport.call("nowhere", "join", None, 2)

    on("tcp", test)


async def greeted(seen: Seen, first: Frame | bytes) -> list[Frame]:
    """Open a socket, send a first frame, and return all that comes until the other end closes."""
    host, port = seen.transport.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(first if isinstance(first, bytes) else encode(first))
    decoder = Decoder()
    async with asyncio.timeout(5):
        decoder.receive(await reader.read())
    writer.close()
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
    return frames


def test_errors_of_unknown_shape() -> None:
    """An answer whose error is no known record costs the peer its connection."""

    async def slow(_sender: NodeId, _body: Value) -> Value:
        await asyncio.sleep(30)
        return None

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        two.transport.serve("slow", slow)
        asking = asyncio.ensure_future(one.transport.call(TWO, "slow", None, 2))
        await asyncio.sleep(0)
        two.transport.send(ONE, frame_of(Kind.REPLY, 1, None, ["a", 2, 3]))
        two.transport.flush()
        with pytest.raises(ProposalUnknown, match="broke"):
            await asking

    on("tcp", test)


# ------------------------------------------------------------------ snapshots
@pytest.mark.parametrize("dialler", [1, 2])
def test_snapshot_frames_have_a_connection_of_their_own(dialler: int) -> None:
    """Either end opens one when it has something to send, and it ends without a trace."""

    async def test(cluster: Cluster) -> None:
        sender, receiver = await cluster.pair()
        if dialler == 2:
            sender, receiver = receiver, sender
        here, there = sender.transport.local.node, receiver.transport.local.node
        part = Frame(Kind.SNAPSHOT, GroupId(3), [1, 2, 1, b"chunk"])
        assert not sender.transport.send(there, part)
        sender.transport.set_bulk({there})
        await until(lambda: sender.transport.bulk(there) is not None)
        assert sender.transport.send(there, part)
        sender.transport.flush()
        await until(lambda: receiver.frames == [(here, part)])
        sender.transport.set_bulk(())
        await until(lambda: sender.transport.bulk(there) is None)
        assert not sender.transport.send(there, part)
        assert (sender.ups, receiver.ups) == ([there], [here])
        assert sender.downs + receiver.downs == []

    on("tcp", test)


def test_no_beat_waits_behind_a_chunk() -> None:
    """While the connection for snapshots is stuck and full, everything else arrives at once."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        assert isinstance(one.transport, TcpTransport)
        assert isinstance(two.transport, TcpTransport)
        one.transport.set_bulk({TWO})
        await until(lambda: one.transport.bulk(TWO) is not None)
        incoming = two.transport._bulk_in
        await until(lambda: ONE in incoming)
        socket = incoming[ONE]._socket
        assert socket is not None
        socket.pause_reading()
        part = Frame(Kind.SNAPSHOT, GroupId(3), [1, 2, 1, bytes(500_000)])
        count = 0
        while one.transport.send(TWO, part):
            one.transport.flush()
            count += 1
        beat = frame_of(Kind.BEAT, 5)
        assert one.transport.send(TWO, beat)
        one.transport.flush()
        await until(lambda: (ONE, beat) in two.frames)
        assert len(two.frames) < 3
        socket.resume_reading()
        await until(lambda: len(two.frames) == count + 1)

    on("tcp", test)


def test_a_lost_connection_for_snapshots_is_dialled_again() -> None:
    """Its successor is another object, and the peer was never down."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        assert isinstance(one.transport, TcpTransport)
        one.transport.set_bulk({TWO})
        await until(lambda: one.transport.bulk(TWO) is not None)
        first = one.transport.bulk(TWO)
        assert first is not None
        first.close("a test cuts it")
        await until(lambda: one.transport.bulk(TWO) not in (None, first))
        assert one.downs + two.downs == []
        one.transport.set_peers({})
        await until(lambda: one.transport.bulk(TWO) is None)

    on("tcp", test)


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (frame_of(Kind.BULK, 1, "other", 5, "n5", 0), "cluster"),
        (frame_of(Kind.BULK, 1, "c", 0, "n5", 0), "without an id"),
        (frame_of(Kind.BULK, 9, "c", 5, "n5", 0), "protocol"),
        (frame_of(Kind.BULK, 1, "c", 2, "n2", 0), "which is this node"),
        (frame_of(Kind.BULK, 1, "c", 1, "another", 0), "is connected as"),
    ],
)
def test_a_connection_for_snapshots_is_checked_as_any_other(greeting: Frame, reason: str) -> None:
    """Who would not be let in otherwise is not let in for snapshots."""

    async def test(cluster: Cluster) -> None:
        _one, two = await cluster.pair()
        host, _, port = two.transport.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(encode(greeting))
        decoder = Decoder()
        decoder.receive(await reader.read())
        answer = decoder.next_frame()
        assert answer is not None
        assert answer.kind is Kind.REFUSED
        assert reason in answer.body[0]
        writer.close()

    on("tcp", test)


def test_nothing_but_snapshots_comes_in_where_they_do() -> None:
    """Another frame ends the connection for snapshots, and that one alone."""

    async def test(cluster: Cluster) -> None:
        one, two = await cluster.pair()
        host, _, port = two.transport.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(encode(frame_of(Kind.BULK, 1, "c", 1, "n1", 0)))
        writer.write(encode(frame_of(Kind.BEAT, 5)))
        await reader.read()
        assert two.frames == []
        assert two.transport.connected() == [ONE]
        assert one.downs + two.downs == []
        writer.close()

    on("tcp", test)
