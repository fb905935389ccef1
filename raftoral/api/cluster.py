"""The paths about definitions and the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.api import bodies
from raftoral.api.endpoints import Endpoint, named
from raftoral.runtime.views import ClusterView

if TYPE_CHECKING:
    from starlette.requests import Request

    from raftoral.api.backend import Backend


# ------------------------------------------------------------------ definitions
async def _deploy(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.DeployRequest)
    return bodies.Definitions(list(await node.deploy(body.source, path=body.path)))


async def _definitions(node: Backend, _request: Request) -> object:
    return bodies.Definitions(list(await node.definitions()))


# ------------------------------------------------------------------ the cluster
async def _status(node: Backend, _request: Request) -> object:
    return await node.status()


async def _nodes(node: Backend, _request: Request) -> object:
    return bodies.Nodes(list(await node.nodes()))


async def _remove_node(node: Backend, request: Request) -> object:
    await bodies.read_body(request, bodies.Nothing)
    await node.remove_node(named(request, "node"))
    return bodies.Accepted()


async def _health(node: Backend, _request: Request) -> object:
    view = await node.status()
    headless = [group.id for group in view.groups if group.member and not group.leader]
    reason = f"no leader is known for group {headless[0]}" if headless else ""
    return bodies.Health(not headless, view.node, reason)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/definitions",
        "Deploy every workflow of a `.rwf` text.",
        _deploy,
        bodies.Definitions,
        bodies.DeployRequest,
    ),
    Endpoint(
        "GET", "/v1/definitions", "List the deployed versions.", _definitions, bodies.Definitions
    ),
    Endpoint("GET", "/v1/status", "Show the cluster as this node sees it.", _status, ClusterView),
    Endpoint("GET", "/v1/nodes", "List the nodes of the cluster.", _nodes, bodies.Nodes),
    Endpoint(
        "POST",
        "/v1/nodes/{node}/remove",
        "Have a node, by id or name, leave the cluster for good; the list of nodes shows how far it is.",
        _remove_node,
        bodies.Accepted,
        bodies.Nothing,
    ),
    Endpoint("GET", "/healthz", "Tell whether this node can serve.", _health, bodies.Health),
)
