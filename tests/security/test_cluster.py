"""Whole nodes with certificates: they form a cluster, and others stay out of it."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral import (
    Checkpoint,
    Compute,
    Flow,
    Node,
    Registry,
    UsageError,
    activity,
    scope,
    workflow,
)
from raftoral.ids import Millis, NodeId
from raftoral.runtime.config import NodeConfig
from raftoral.security.tls import TlsFiles
from raftoral.transport.base import Local
from raftoral.transport.tcp import TcpTransport
from tests.security.authorities import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@activity("secure.double")
async def double(number: int) -> int:
    """Return twice the number."""
    return 2 * number


@workflow("secure.sum", version=1)
def total(turns: int) -> Flow[int]:
    """Add up doubles."""
    done = yield from Checkpoint("sum", 0)
    for turn in range(turns):
        with scope(f"turn-{turn}"):
            part = yield from Compute("part", double, turn)
        yield from done.set(done.value + part)
    return done.value


def registry() -> Registry:
    """What each node runs."""
    return Registry(workflows=[total], activities=[double])


def free_port() -> int:
    """Return a port that nothing listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class Site:
    """The nodes of one test."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.authority = Authority.create(folder / "certs")
        self.first = f"127.0.0.1:{free_port()}"
        self._stack = stack

    def node(self, certified: str, *, first: bool = False, **changed: object) -> Node:
        """Return a node with a certificate of its own; ``changed`` replaces settings."""
        settings: dict[str, object] = {
            "data": self.folder / certified,
            "listen": self.first if first else f"127.0.0.1:{free_port()}",
            "join": () if first else (self.first,),
            "tls": Path(self.authority.files(certified).cert).parent,
            **changed,
        }
        return Node(registry(), **settings)  # type: ignore[arg-type]

    async def start(self, node: Node) -> Node:
        """Start a node until the end of the test."""
        return await self._stack.enter_async_context(node)


async def whole(node: Node, size: int) -> None:
    """Wait until a node sees all others."""
    async with asyncio.timeout(20):
        while [each.alive for each in await node.nodes()] != [True] * size:  # noqa: ASYNC110  # the view tells nobody when it changes
            await asyncio.sleep(0.02)


def on(folder: Path, test: Callable[[Site], Coroutine[None, None, None]]) -> None:
    """Run one test; its nodes are stopped whatever happens."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await test(Site(folder, stack))

    asyncio.run(main())


def test_three_nodes_run_a_workflow_over_mutual_tls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three nodes join, run, lose one, take it back, all by certificates; no key is ever logged."""
    caplog.set_level(logging.DEBUG)

    async def test(site: Site) -> None:
        first = await site.start(site.node("alpha", first=True))
        second = await site.start(site.node("beta"))
        third = site.node("gamma")
        await third.start()
        await whole(first, 3)
        assert [node.name for node in await first.nodes()] == ["alpha", "beta", "gamma"]
        assert await second.run(total, 5, id="one") == 20
        await third.stop()
        assert await second.run(total, 6, id="two") == 30
        third = await site.start(Node(registry(), config=third.config))
        await whole(third, 3)
        assert await third.run(total, 6, id="two") == 30
        assert (await third.history("one")).sha256 == (await first.history("one")).sha256

    on(tmp_path, test)
    for key in tmp_path.rglob("*.key"):
        secret = "".join(key.read_text().splitlines()[1:-1])
        assert len(base64.b64decode(secret)) > 100
        assert secret[:40] not in caplog.text
    assert "PRIVATE KEY" not in caplog.text


def test_a_certificate_joins_under_its_own_name_only(tmp_path: Path) -> None:
    """Neither another name nor the nonce of another node makes a certificate somebody else's."""

    async def test(site: Site) -> None:
        await site.start(site.node("alpha", first=True))
        await site.start(site.node("beta"))
        thief = TcpTransport(
            Local("", NodeId(0), "omega"),
            "127.0.0.1:0",
            wall=lambda: Millis(0),
            chance=Random(1).randrange,
            tls=site.authority.tls("omega"),
        )
        nonce = (site.folder / "beta" / "join").read_text()
        with pytest.raises(UsageError, match="only join under that name"):
            await thief.call(site.first, "cluster.join", ["new", "beta", "127.0.0.1:9", ""], 5)
        with pytest.raises(UsageError, match="joined as 'beta' before"):
            await thief.call(site.first, "cluster.join", [nonce, "omega", "127.0.0.1:9", ""], 5)
        await thief.close()

    on(tmp_path, test)


def test_who_cannot_join_is_told_at_once(tmp_path: Path) -> None:
    """Another CA, or no TLS, is a message for the joiner, and the cluster stays as it was."""

    async def test(site: Site) -> None:
        first = await site.start(site.node("alpha", first=True))
        other = Authority.create(tmp_path / "other").files("beta")
        with pytest.raises(UsageError, match=r"cannot join: .* of another CA"):
            await site.node("beta", tls=other).start()
        plain = NodeConfig(listen=f"127.0.0.1:{free_port()}", join=(site.first,))
        with pytest.raises(UsageError, match=r"cannot join: .* start both with --tls"):
            await Node(config=plain).start()
        assert len(await first.nodes()) == 1

    on(tmp_path, test)


def test_one_name_for_certificate_folder_and_option(tmp_path: Path) -> None:
    """A node starts neither under another name than its certificate's nor on another's folder."""

    async def test(site: Site) -> None:
        with pytest.raises(UsageError, match="that of 'alpha', not of 'omega'"):
            await site.node("alpha", first=True, name="omega").start()
        async with site.node("alpha", first=True, name="alpha"):
            pass
        taken = site.node("omega", first=True, data=tmp_path / "alpha")
        with pytest.raises(UsageError, match="that of node 'alpha', but the certificate"):
            await taken.start()

    on(tmp_path, test)


def test_beyond_loopback_it_takes_certificates(tmp_path: Path) -> None:
    """A node listens beyond this machine with certificates, or in the clear if that is wanted."""
    files = TlsFiles.of_folder(tmp_path)
    with pytest.raises(UsageError, match="--tls"):
        NodeConfig(listen="0.0.0.0:7400").checked()
    NodeConfig(listen="0.0.0.0:7400", tls=files).checked()
    NodeConfig(listen="0.0.0.0:7400", insecure=True).checked()
