"""The ASGI application over one node: paths in, views out. It may be mounted into another one.

Owns the table of routes, which is also what the OpenAPI page is made of. Keeps no state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from raftoral.api import bodies, cluster, runs, schedules
from raftoral.api.endpoints import Endpoint, Segments, check_query, optional_number
from raftoral.api.failures import answer_for, refusal
from raftoral.api.guard import Guard
from raftoral.api.streams import streamed
from raftoral.convert import to_json

if TYPE_CHECKING:
    from starlette.requests import Request

    from raftoral.api.backend import Backend

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *runs.ENDPOINTS,
    *schedules.ENDPOINTS,
    *cluster.ENDPOINTS,
)


def application(node: Backend, bound_to: str = "127.0.0.1") -> Starlette:
    """Return the ASGI application of ``node``.

    ``bound_to`` is the host that the server listens on: besides loopback names it is the only one
    that a request's Host header may name. Set its ``state.stopping`` before the server stops, so that
    streams end.
    """
    routes = [Route(e.path, partial(_answer, node, e), methods=[e.method]) for e in ENDPOINTS]
    routes.append(Route("/openapi.json", _openapi, methods=["GET"]))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, bound_to=bound_to), Middleware(Segments)],
        exception_handlers={HTTPException: _no_such_path},
    )
    app.state.stopping = asyncio.Event()
    return app


async def _answer(node: Backend, endpoint: Endpoint, request: Request) -> Response:
    doing = f"{endpoint.method} {request.url.path}"
    try:
        check_query(endpoint, request)
        answered = endpoint.handler(node, request)
        if isinstance(answered, AsyncIterator):
            wait_ms = optional_number(request, "wait_ms")
            seconds = None if wait_ms is None else wait_ms / 1000
            return await streamed(answered, doing, request.app.state.stopping, seconds)
        answer = await answered
        status = 503 if isinstance(answer, bodies.Health) and not answer.ok else 200
        return Response(to_json(answer), status, media_type="application/json")
    except Exception as error:
        return answer_for(error, doing)


async def _openapi(_request: Request) -> Response:
    from raftoral.api.openapi import document

    return Response(to_json(document(ENDPOINTS)), media_type="application/json")


async def _no_such_path(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        told = "this path takes another method"
        return refusal(405, "method_not_allowed", told, error.headers)
    return refusal(error.status_code, "not_found", "no such path; /openapi.json lists them")
