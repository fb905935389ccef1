"""The last step of a start: group 0 knows this node as it is now, and what it can run.

Owns what a node proposes to group 0 about itself. Everything is asked for until it is answered; the
caller bounds the time.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from raftoral.errors import Unavailable, UsageError
from raftoral.ids import MANAGEMENT
from raftoral.machines import management
from raftoral.machines.commands import AddNode, FormCluster, MoveNode
from raftoral.runtime.joining import FOUNDER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from raftoral.groups.host import Host
    from raftoral.machines.command import Command
    from raftoral.registry.definition import Definition
    from raftoral.runtime.config import NodeConfig
    from raftoral.runtime.deploying import Deploying
    from raftoral.storage.base import Identity

T = TypeVar("T")

log = logging.getLogger("raftoral.node")

ANSWER_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.05


async def settle_in(host: Host, me: Identity, config: NodeConfig, groups: int) -> None:
    """Wait until group 0 knows this node; ``groups`` counts the execution groups that it has.

    Raises `UsageError` for what group 0 refuses.
    """
    if me.node == FOUNDER:
        # At every start: a founder may have been stopped before its first words were committed.
        await _insist(host, FormCluster(me.cluster, groups))
        await _insist(host, AddNode(me.cluster, me.name, config.reachable_at, config.http))
    if config.groups is not None:
        await _insist(host, FormCluster(me.cluster, config.groups))
    else:
        await _until_answered(partial(host.read_barrier, MANAGEMENT, timeout=ANSWER_SECONDS))
    known = management.node(host.groups[MANAGEMENT].state, me.node)
    here = config.reachable_at, config.http
    if known is not None and (known.address, known.http) != here:
        await _insist(host, MoveNode(me.node, *here))


async def deploy_all(definitions: Iterable[Definition], deploying: Deploying) -> list[str]:
    """Deploy the application's Python workflows; return what is refused, whose runs are not owned."""
    refused = []
    for definition in definitions:
        try:
            await _until_answered(partial(deploying.deploy, definition))
        except UsageError as error:
            refused.append(str(error))
            log.warning("%s", error)
    return refused


async def _insist(host: Host, command: Command) -> None:
    ask = partial(host.propose, MANAGEMENT, command.encode(), timeout=ANSWER_SECONDS)
    result = await _until_answered(ask)
    if result[0] == "refused":
        raise UsageError(result[2])


async def _until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(PAUSE_SECONDS)
