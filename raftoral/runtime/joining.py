"""Who this node is: founder of a cluster, its new member, or one that comes back.

Owns the first minute of a node. A node gets its id from group 0 by consensus, once; the nonce that
it asks with is kept on its disk, so asking again after a crash gives the same id.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from raftoral.errors import NotTrusted, RaftoralError, StorageFailed, Unavailable, UsageError
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import ConfState, SnapshotMeta
from raftoral.storage.base import Identity

if TYPE_CHECKING:
    from raftoral.runtime.config import NodeConfig
    from raftoral.storage.base import NodeStore
    from raftoral.transport.base import Transport

log = logging.getLogger("raftoral.join")

FOUNDER: Final = NodeId(1)
ASK_SECONDS: Final = 3.0
_BASE: Final = SnapshotMeta(Index(1), Term(1), ConfState(voters=(FOUNDER,)))
"""Where the logs of a new cluster begin: everyone who joins starts from a snapshot behind it."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Who this node is, and where it can find the others."""

    identity: Identity
    peers: dict[NodeId, str]
    names: dict[NodeId, str] = field(default_factory=dict)


def found(store: NodeStore, config: NodeConfig) -> Membership:
    """Make this node the first of a new cluster; nothing is there before its identity is."""
    for group in store.groups():
        store.drop(group)  # An earlier founding was cut off before its identity was stored.
    for number in range((config.groups or 1) + 1):
        store.group(GroupId(number)).bootstrap(_BASE)
    store.flush(sync=True)
    identity = Identity(uuid4().hex[:16], FOUNDER, config.name or f"node-{FOUNDER}")
    store.set_identity(identity)
    return Membership(identity, {})


async def join(store: NodeStore, transport: Transport, config: NodeConfig) -> Membership:
    """Ask the seeds for an id until one of them can give it.

    Raises `UsageError` if the cluster refuses, `Unavailable` if no seed answers in time.
    """
    nonce = _nonce(config.data)
    request: list[Any] = [nonce, config.name, config.reachable_at, config.http]
    answer = await _ask_seeds(transport, config, "cluster.join", request)
    cluster, node, name, peers = cast("tuple[str, int, str, list[list[Any]]]", answer)
    identity = Identity(cluster, NodeId(node), name)
    store.set_identity(identity)
    log.info("joined cluster %s as node %d (%s)", cluster, node, name)
    return Membership(
        identity,
        {NodeId(each): address for each, address, _ in peers},
        names={NodeId(each): called for each, _, called in peers},
    )


async def check_same_cluster(identity: Identity, transport: Transport, config: NodeConfig) -> None:
    """Refuse seeds of another cluster than the one that the data folder belongs to."""
    for seed in config.join:
        try:
            answer: Any = await transport.call(seed, "cluster.id", None, ASK_SECONDS)
        except UsageError:
            raise
        except RaftoralError:
            continue
        other = str(answer)
        if other != identity.cluster:
            raise UsageError(
                f"the data folder {config.data} belongs to cluster {identity.cluster}, but {seed} "
                f"is in cluster {other}. Start without --join to go on in the old cluster, or "
                "with an empty --data folder to join the other"
            )
    log.info("--join is not needed: %s belongs to cluster %s", config.data, identity.cluster)


async def _ask_seeds(
    transport: Transport, config: NodeConfig, method: str, request: list[Any]
) -> object:
    loop = asyncio.get_running_loop()
    until = loop.time() + config.join_timeout_s
    problems: dict[str, RaftoralError] = {}
    said = False
    while True:
        for seed in config.join:
            if seed == config.reachable_at:
                raise UsageError(f"--join {seed} is this node's own address; name another node")
            try:
                return await transport.call(seed, method, request, ASK_SECONDS)
            except UsageError:
                raise
            except RaftoralError as error:
                problems[seed] = error
        if problems and all(isinstance(error, NotTrusted) for error in problems.values()):
            # Trying again would change no certificate.
            raise UsageError(f"cannot join: {'; '.join(map(str, problems.values()))}")
        told = "; ".join(f"{seed}: {why}" for seed, why in problems.items())
        if loop.time() >= until:
            raise Unavailable(
                f"no node of the cluster answered within {config.join_timeout_s:g} s ({told}). "
                "Check the address and that the node runs; the first node of a cluster starts "
                "without --join"
            )
        if not said:
            log.warning("no answer yet, trying for %g s: %s", config.join_timeout_s, told)
            said = True
        await asyncio.sleep(0.2)


def _nonce(data: str | None) -> str:
    """Return the nonce that this data folder joins with, made durable before it is used."""
    if data is None:
        return uuid4().hex
    path = Path(data) / "join"
    try:
        if path.exists():
            return path.read_text(encoding="ascii").strip()
        nonce = uuid4().hex
        partial = path.with_suffix(".new")
        with partial.open("w", encoding="ascii") as file:
            file.write(nonce)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror or error}") from None
    return nonce
