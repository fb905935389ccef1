"""The server and the blocking client over a real loopback socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, TypeVar

import pytest

from raftoral import errors
from raftoral.api.server import listener, serve
from raftoral.client.failures import error_of
from raftoral.client.http import Client
from raftoral.runtime.rhx import read_rhx, write_rhx
from raftoral.transport.ports import holder_of
from tests.api.fakes import FakeNode

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def with_client(node: FakeNode, use: Callable[[Client], T]) -> T:
    """Serve ``node`` on a free port and use a client of it in another thread."""

    async def served() -> T:
        async with serve(node, port=0) as url:
            with Client(url, patience=0.5) as client:
                return await asyncio.to_thread(use, client)

    return asyncio.run(served())


def test_client_sees_what_the_node_said() -> None:
    """Views come back as the same classes, through a socket."""

    def use(client: Client) -> None:
        assert client.healthy()
        assert client.deploy("workflow order v1 {}")[0].new
        assert client.definitions()[0].name == "order"
        run = client.start("order", {"a": 1}, id="o-1")
        assert (run.status, run.result) == ("completed", {"a": 1})
        assert client.wait("o-1", 1).ended
        assert [view.id for view in client.runs()] == ["o-1"]
        assert client.status().groups[0].leader == 1
        assert client.nodes()[0].this

    with_client(FakeNode(), use)


def test_client_waits_no_longer_than_told() -> None:
    """A run that goes on is returned as it stands after the timeout."""
    node = FakeNode()

    def use(client: Client) -> None:
        client.start("slow", id="s")
        begun = time.monotonic()
        assert client.wait("s", 0.3).status == "running"
        assert time.monotonic() - begun > 0.25

    with_client(node, use)


def test_signals_get_an_id_that_repeating_keeps() -> None:
    """A signal without an id gets one from the client, so a lost answer can be asked for again."""
    node = FakeNode()

    def use(client: Client) -> None:
        client.start("slow", id="s")
        client.signal("s", "paid", {"by": "x"})

    with_client(node, use)
    assert node.signals[0][3]


def test_client_raises_the_class_that_the_node_raised() -> None:
    """An error crosses the socket as its own class, with its message."""

    def use(client: Client) -> None:
        with pytest.raises(errors.UnknownRun, match="no run x"):
            client.show("x")
        with pytest.raises(errors.DefinitionRefused, match="RWF0101"):
            client.deploy("broken")
        with pytest.raises(errors.InvalidInput):
            client.start("order", 3)

    with_client(FakeNode(), use)


def test_client_repeats_while_the_node_is_unavailable() -> None:
    """A node between two leaders is asked again for the client's patience, then the error is told."""
    node = FakeNode(failing=errors.Unavailable("no leader"))

    def use(client: Client) -> None:
        begun = time.monotonic()
        with pytest.raises(errors.Unavailable, match="no leader"):
            client.status()
        assert time.monotonic() - begun > 0.2

    with_client(node, use)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInput("x"),
        errors.RunConflict("x"),
        errors.NotLeader(errors.NotLeader().leader),
        errors.WorkflowFailed("Declined", "no money"),
        errors.StorageFailed("x"),
    ],
)
def test_error_of_rebuilds_every_kind(error: errors.RaftoralError) -> None:
    """Code and message are enough to raise the same class with the same words."""
    again = error_of(error.code, str(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert type(error_of("from_the_future", "x")) is errors.RaftoralError


def test_no_node_says_how_to_start_one() -> None:
    """A client without a node says where it looked and what to do."""
    with listener("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    with (
        Client(f"http://127.0.0.1:{port}") as client,
        pytest.raises(errors.Unavailable, match="raftoral dev"),
    ):
        client.status()


def test_something_else_on_the_port_is_told() -> None:
    """An answer that is no JSON of ours is no node."""

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(other, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with Client(f"http://127.0.0.1:{port}") as client:
                await asyncio.to_thread(client.status)

    with pytest.raises(errors.UsageError, match="no Raftoral node"):
        asyncio.run(run())


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:7480", "http://", ""])
def test_urls_that_name_no_node(url: str) -> None:
    """A URL that cannot be one is told before anything is sent."""
    with pytest.raises(errors.UsageError, match="URL"):
        Client(url)


def test_taken_port_names_its_holder() -> None:
    """A port in use says which process has it, and what to do."""
    with listener("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert f"process {os.getpid()} " in (holder_of(port) or "")
        with pytest.raises(errors.Unavailable, match=rf"taken by process {os.getpid()} .*--http"):
            listener("127.0.0.1", port)
    assert holder_of(port) is None


def test_beyond_loopback_is_refused() -> None:
    """The API is not opened to other machines by accident."""
    with pytest.raises(errors.UsageError, match="--insecure"):
        listener("0.0.0.0", 0)
    listener("0.0.0.0", 0, insecure=True).close()


def test_stop_is_quick_with_a_request_in_flight() -> None:
    """Leaving the context ends within seconds although a client still waits."""

    async def run() -> float:
        node = FakeNode()
        await node.start_run("slow", {}, id="s")
        async with serve(node, port=0) as url:
            host, port = url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /v1/runs/s?wait_ms=30000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)
            begun = time.monotonic()
        writer.close()
        return time.monotonic() - begun

    assert asyncio.run(run()) < 15, "the client would have waited for 30"


def test_ipv6_loopback_is_served() -> None:
    """The URL of an IPv6 host is written with brackets and works."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")

    async def run() -> None:
        async with serve(FakeNode(), "::1", 0) as url:
            with Client(url) as client:
                assert url.startswith("http://[::1]:")
                assert await asyncio.to_thread(client.healthy)

    asyncio.run(run())


def test_export_reads_back_and_refuses_damage() -> None:
    """An exported history reads back equal, and one flipped byte is told."""
    node = FakeNode()

    def use(client: Client) -> bytes:
        client.start("order", {}, id="o")
        view = client.history("o")
        assert read_rhx(write_rhx(view)) == view
        return write_rhx(view)

    data = with_client(node, use)
    with pytest.raises(errors.CorruptionError, match="damaged"):
        read_rhx(data.replace(b"paid", b"pajd"))
    with pytest.raises(errors.CorruptionError):
        read_rhx(b"\x01")
