"""Who has which id, on a node whose copy of group 0 is behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from raftoral.ids import MANAGEMENT, Index, Millis, NodeId
from raftoral.kv import MemoryKeyValue, Overlay
from raftoral.machines.commands import AddNode
from raftoral.machines.management import Management
from raftoral.runtime.names import Names
from tests.security.authorities import Authority
from tests.security.test_peers import ONE, THREE, TWO, Peer, Wire, introduce, on, until

if TYPE_CHECKING:
    from pathlib import Path

    from raftoral.groups.host import Host


def host_of(*names: str) -> Host:
    """Return a host whose group 0 has these nodes."""
    state = MemoryKeyValue()
    overlay = Overlay(state)
    for number, name in enumerate(names, start=1):
        command = AddNode(f"nonce-{name}", name, "127.0.0.1:1", "").encode()
        result, _ = Management().apply(Index(number), Millis(number), command, overlay)
        assert result == ["ok", number]
    group = SimpleNamespace(state=overlay)
    return cast("Host", SimpleNamespace(groups={MANAGEMENT: group}))


def test_a_node_that_was_away_learns_from_a_peer_who_the_new_leader_is(tmp_path: Path) -> None:
    """Called by a member that it never heard of, a node asks those it trusts, and lets it in."""

    async def test(wire: Wire) -> None:
        one, two, three = await wire.node(1), await wire.node(2), await wire.node(3)
        behind = Names(host_of("n1", "n2"), one.transport, {})
        Names(host_of("n1", "n2", "n3"), two.transport, {})
        introduce(two, one)
        await until(lambda: one.ups == [TWO])
        assert behind.name_of(THREE) is None
        introduce(three, one)
        await until(lambda: one.ups == [TWO, THREE] and three.ups == [ONE])
        assert behind.name_of(THREE) == "n3"
        behind.close()

    on(Authority.create(tmp_path), test)


def test_group_0_decides_over_what_was_told(tmp_path: Path) -> None:
    """A peer's word counts only for ids that this node's own copy does not have."""

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        names = Names(host_of("n1", "n2"), one.transport, {TWO: "thief", NodeId(7): "n7"})
        assert [names.name_of(NodeId(n)) for n in (1, 2, 7, 8)] == ["n1", "n2", "n7", None]

    on(Authority.create(tmp_path), test)


def test_nobody_to_ask_is_nobody_let_in(tmp_path: Path) -> None:
    """Without a trusted peer an unknown id stays unknown; nothing is believed of the caller."""

    async def test(wire: Wire) -> None:
        one = await wire.node(1)
        names = Names(host_of("n1"), one.transport, {})
        stranger = await wire.add(Peer(2, wire.authority.tls("n2")))
        introduce(stranger, one)
        await asyncio.sleep(0.05)
        assert one.ups == []
        assert names.name_of(TWO) is None
        names.close()

    on(Authority.create(tmp_path), test)
