"""Transports with certificates over real sockets: who may speak, and as whom."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import NotTrusted, PeerError, Unavailable
from raftoral.ids import GroupId, Millis, NodeId
from raftoral.transport import connection as connections
from raftoral.transport import tcp
from raftoral.transport.base import CERTIFIED, Local
from raftoral.transport.frame import Decoder, Frame, Kind, encode, frame_of
from raftoral.transport.tcp import TcpTransport
from tests.security.authorities import LONG_AGO, Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from raftoral.security.tls import Tls
    from raftoral.transport.connection import Connection
    from raftoral.values import Value

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
NAMES = {ONE: "n1", TWO: "n2", THREE: "n3"}


class Peer:
    """A transport, and all it reported."""

    def __init__(self, node: int, tls: Tls | None, name: str = "", listen: str = "") -> None:
        self.names = dict(NAMES)
        self.ups: list[NodeId] = []
        self.frames: list[tuple[NodeId, Frame]] = []
        self.transport = TcpTransport(
            Local("c" if node else "", NodeId(node), name or f"n{node}"),
            listen or "127.0.0.1:0",
            wall=lambda: Millis(1),
            chance=Random(node).randrange,
            tls=tls,
        )
        self.transport.name_of = self.names.get
        self.transport.on_peer_up = lambda node, _wall: self.ups.append(node)
        self.transport.on_frame = lambda sender, frame: self.frames.append((sender, frame))

    @property
    def reasons(self) -> str:
        """Why it has no connection, all reasons in one text."""
        return "; ".join(self.transport.refusals.values())


class Wire:
    """Starts peers and takes them down."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.all: list[Peer] = []

    async def add(self, peer: Peer) -> Peer:
        """Start a peer."""
        await peer.transport.start()
        self.all.append(peer)
        return peer

    async def node(self, node: int) -> Peer:
        """Start node ``node``, with the certificate that is its own."""
        return await self.add(Peer(node, self.authority.tls(f"n{node}")))


def introduce(dialler: Peer, *peers: Peer) -> None:
    """Tell a peer where the others are."""
    dialler.transport.set_peers(
        {peer.transport.local.node: peer.transport.address for peer in peers}
    )


async def until(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # what is waited for is any predicate
            await asyncio.sleep(0.002)


@asynccontextmanager
async def wired(authority: Authority) -> AsyncIterator[Wire]:
    """A wire that is closed at the end."""
    wire = Wire(authority)
    try:
        yield wire
    finally:
        for peer in wire.all:
            await peer.transport.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The cluster's CA."""
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another cluster's CA."""
    return Authority.create(tmp_path_factory.mktemp("foreign"))


def on(authority: Authority, test: Callable[[Wire], Coroutine[None, None, None]]) -> None:
    """Run one test in a loop of its own."""

    async def main() -> None:
        async with wired(authority) as wire:
            await test(wire)

    asyncio.run(main())


# ------------------------------------------------------------------ those who may
def test_frames_travel_sealed(authority: Authority) -> None:
    """Between two nodes with certificates frames arrive both ways, whole and in order."""

    async def test(wire: Wire) -> None:
        one, two = await wire.node(1), await wire.node(2)
        introduce(two, one)
        await until(lambda: one.ups == [TWO] and two.ups == [ONE])
        frames = [Frame(Kind.PROPOSE, GroupId(n), [n, b"x" * 300 * n]) for n in range(200)]
        for near, far, to in ((one, two, TWO), (two, one, ONE)):
            assert all(near.transport.send(to, frame) for frame in frames)
            near.transport.flush()
            await until(partial(lambda seen: len(seen) == 200, far.frames))
            assert [frame for _, frame in far.frames] == frames
        assert one.reasons == two.reasons == ""

    on(authority, test)


def test_snapshots_travel_sealed_on_a_connection_that_is_checked_as_well(
    authority: Authority,
) -> None:
    """Their own connection takes the right certificate at both ends, and refuses another one."""

    async def test(wire: Wire) -> None:
        one, two = await wire.node(1), await wire.node(2)
        liar = await wire.add(Peer(3, authority.tls("n3")))
        for peer in (one, two, liar):
            introduce(peer, one, two, liar)
        await until(lambda: one.ups != [] and two.ups != [])
        part = Frame(Kind.SNAPSHOT, GroupId(1), [1, 2, 1, b"x" * 200_000])
        one.transport.set_bulk({TWO})
        await until(lambda: one.transport.bulk(TWO) is not None)
        assert one.transport.send(TWO, part)
        one.transport.flush()
        await until(lambda: (ONE, part) in two.frames)
        two.names[THREE] = "another"
        liar.transport.set_bulk({TWO})
        await until(lambda: "'n3'" in two.reasons)
        assert liar.transport.bulk(TWO) is None

    on(authority, test)


def test_a_joiner_calls_under_the_name_of_its_certificate(authority: Authority) -> None:
    """A handler learns which node the certificate of a stranger names."""

    async def who(_sender: NodeId, _body: Value) -> Value:
        return CERTIFIED.get()

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        one.transport.serve("who", who, open_to_strangers=True)
        joiner = await wire.add(Peer(0, wire.authority.tls("n9"), "n9"))
        assert await joiner.transport.call(one.transport.address, "who", None, 2) == "n9"
        two = await wire.node(2)
        introduce(two, one)
        await until(lambda: two.ups)
        assert await two.transport.call(ONE, "who", None, 2) == "n2"

    on(authority, test)


def test_a_member_that_is_news_waits_until_it_is_known(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """An id that nobody has yet is asked for, and let in once it is known, without a warning."""

    async def test(wire: Wire) -> None:
        one, three = await wire.node(1), await wire.node(3)
        del one.names[THREE]
        asked: list[NodeId] = []
        one.transport.on_unknown = asked.append
        introduce(three, one)
        await until(lambda: asked == [THREE])
        one.transport.names_changed()
        assert one.ups == []
        one.names[THREE] = "n3"
        one.transport.names_changed()
        await until(lambda: one.ups == [THREE] and three.ups == [ONE])
        assert caplog.records == []

    on(authority, test)


def test_an_id_that_stays_unknown_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who claims an id that is nobody's does not wait for ever, and hears why."""
    monkeypatch.setattr(connections, "UNKNOWN_TIMEOUT_S", 0.02)

    async def test(wire: Wire) -> None:
        one, three = await wire.node(1), await wire.node(3)
        del one.names[THREE]
        introduce(three, one)
        await until(lambda: three.reasons)
        assert "no node 3 is known here" in three.reasons
        assert one.ups == []

    on(authority, test)


# ------------------------------------------------------------------ those who may not
@pytest.mark.parametrize(
    ("claims", "calls_itself", "reason"),
    [
        (2, "n3", "it claims to be node 2, which is 'n2', but its certificate is that of 'n3'"),
        (2, "n2", "it calls itself 'n2', but its certificate is that of 'n3'"),
        (3, "n2", "it calls itself 'n2', but its certificate is that of 'n3'"),
        (0, "n2", "it calls itself 'n2', but its certificate is that of 'n3'"),
    ],
)
def test_a_valid_peer_cannot_speak_as_another(
    authority: Authority, claims: int, calls_itself: str, reason: str
) -> None:
    """A certificate is good for one name and one id; with any other not a frame is taken."""

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        thief = await wire.add(Peer(claims, wire.authority.tls("n3"), calls_itself))
        if claims:
            introduce(thief, one)
            await until(lambda: thief.reasons)
            assert reason in thief.reasons
        else:
            with pytest.raises(PeerError, match=reason):
                await thief.transport.call(one.transport.address, "join", None, 2)
        assert reason in one.reasons
        assert one.ups == []
        assert one.frames == []

    on(authority, test)


def test_a_valid_peer_cannot_answer_as_another(authority: Authority) -> None:
    """Who dials node 1 does not talk to a node that listens there with another certificate."""

    async def test(wire: Wire) -> None:
        thief = await wire.add(Peer(1, wire.authority.tls("n3"), "n1"))
        two = await wire.node(2)
        introduce(two, thief)
        await until(lambda: two.reasons and thief.reasons)
        assert "the certificate there is not that of 'n1'" in two.reasons
        assert "names another node or host" in thief.reasons
        assert two.ups == thief.ups == []

    on(authority, test)


def test_a_node_that_lies_about_its_name_is_not_taken_for_a_seed(authority: Authority) -> None:
    """A joiner hangs up on a seed whose hello is not that of its certificate."""

    async def test(wire: Wire) -> None:
        thief = await wire.add(Peer(1, wire.authority.tls("n3"), "n1"))
        joiner = await wire.add(Peer(0, wire.authority.tls("n9"), "n9"))
        with pytest.raises(PeerError, match="it calls itself 'n1', but its certificate"):
            await joiner.transport.call(thief.transport.address, "join", None, 2)

    on(authority, test)


def test_a_seed_is_the_host_that_was_dialled(authority: Authority) -> None:
    """A joiner talks to no node whose certificate does not name the host that it dialled."""

    async def test(wire: Wire) -> None:
        one = await wire.add(Peer(1, wire.authority.tls("n1"), listen="127.0.0.2:0"))
        joiner = await wire.add(Peer(0, wire.authority.tls("n9"), "n9"))
        with pytest.raises(NotTrusted, match=r"issue it again with --host 127\.0\.0\.2"):
            await joiner.transport.call(one.transport.address, "join", None, 2)

    on(authority, test)


@pytest.mark.parametrize(
    ("sort", "dialler_says", "listener_says"),
    [
        ("foreign", "certificate is of another CA", "which is of another CA than its own"),
        ("expired", "refuses this node's certificate as expired", "has expired; issue it a new"),
        ("plain", "the dialling one does not; start both", "the dialling one does not; start both"),
    ],
)
def test_both_ends_say_why_once_and_the_dialler_goes_on_trying(
    authority: Authority,
    foreign: Authority,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    sort: str,
    dialler_says: str,
    listener_says: str,
) -> None:
    """Wrong CA, expired, or no TLS: one line at each end however often it dials, no traceback."""
    monkeypatch.setattr(tcp, "REDIAL_FIRST_MS", 5)
    bad = {
        "foreign": foreign.tls("n2"),
        "expired": authority.tls("n2", at=LONG_AGO),
        "plain": None,
    }[sort]

    async def test(wire: Wire) -> None:
        one, two = await wire.node(1), await wire.add(Peer(2, bad))
        dials = 0
        began = one.transport.began

        def count(connection: Connection) -> str | None:
            nonlocal dials
            dials += 1
            return began(connection)

        one.transport.began = count  # type: ignore[method-assign]
        introduce(two, one)
        await until(lambda: dials >= 4)
        assert dialler_says in two.reasons
        assert listener_says in one.reasons
        assert len(caplog.records) == 2
        assert all(record.exc_info is None for record in caplog.records)
        assert one.ups == two.ups == []

    on(authority, test)


def test_tls_against_a_node_without(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """A dialler with TLS and a listener without tell each other apart at once, and say it once."""

    async def test(wire: Wire) -> None:
        plain, two = await wire.add(Peer(1, None)), await wire.node(2)
        introduce(two, plain)
        await until(lambda: two.reasons and plain.reasons)
        assert "the listening one does not; start both with --tls" in two.reasons
        assert "the listening one does not; start both with --tls" in plain.reasons
        joiner = await wire.add(Peer(0, wire.authority.tls("n9"), "n9"))
        with pytest.raises(NotTrusted, match="the listening one does not"):
            await joiner.transport.call(plain.transport.address, "join", None, 2)
        assert len(caplog.records) == 2

    on(authority, test)


def test_a_client_without_a_certificate_is_let_down_at_its_first_read(
    authority: Authority,
) -> None:
    """It connects, sends its hello, and then hears that it needs a certificate; so does the log."""

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(wire.authority.folder / "ca.crt")
        host, port = one.transport.address.split(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname="n1.node.raftoral"
        )
        writer.write(encode(frame_of(Kind.HELLO, 1, "c", 2, "n2", 0)))
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await reader.read()
        writer.transport.abort()
        assert "it shows no certificate" in one.reasons
        assert one.ups == []

    on(authority, test)


def test_a_node_that_goes_on_before_it_is_let_in_is_cut_off(authority: Authority) -> None:
    """Whose id is not known yet may not send frames in the meantime."""

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        del one.names[TWO]
        files = wire.authority.files("n2")
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.cert, files.key)
        host, port = one.transport.address.split(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname="n1.node.raftoral"
        )
        hello = encode(frame_of(Kind.HELLO, 1, "c", 2, "n2", 0))
        writer.write(hello + encode(frame_of(Kind.BEAT, 1)))
        assert await reader.read() == b""
        writer.close()
        assert "before it was let in" in one.reasons
        assert one.frames == []

    on(authority, test)


def test_a_plain_client_hears_in_the_clear_what_is_wanted(authority: Authority) -> None:
    """A frame without TLS is answered by a refusal that it can read."""

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        host, port = one.transport.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(encode(frame_of(Kind.HELLO, 1, "c", 2, "n2", 0)))
        decoder = Decoder()
        decoder.receive(await reader.read())
        answer = decoder.next_frame()
        assert answer is not None
        assert answer.kind is Kind.REFUSED
        assert "start both with --tls" in answer.body[0]
        writer.close()

    on(authority, test)


def test_a_listener_that_hangs_up_in_the_handshake(authority: Authority) -> None:
    """A dialler that gets no TLS answer at all says where it ended and where to look."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def test(wire: Wire) -> None:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        joiner = await wire.add(Peer(0, wire.authority.tls("n9"), "n9"))
        with pytest.raises(Unavailable, match="in the middle of the TLS handshake"):
            await joiner.transport.call(f"127.0.0.1:{port}", "join", None, 2)
        server.close()

    on(authority, test)
