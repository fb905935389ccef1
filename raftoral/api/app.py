"""The ASGI application over one node: paths in, views out. It may be mounted into another one.

Owns the table of routes, which is also what the OpenAPI page is made of. Keeps no state.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from raftoral.api import bodies
from raftoral.api.failures import answer_for, refusal
from raftoral.api.guard import Guard
from raftoral.api.streams import Message, streamed
from raftoral.convert import to_json
from raftoral.errors import InvalidInput
from raftoral.replay.history import decode
from raftoral.replay.wording import describe
from raftoral.runtime.views import ClusterView, RunView, Status

if TYPE_CHECKING:
    from starlette.requests import Request

    from raftoral.api.backend import Backend
    from raftoral.runtime.views import HistoryView

WAIT_MS_MAX: Final = 60_000
"""The longest that one request waits for the end of a run; ask again for more."""

LIMIT_MAX: Final = 1_000

STATUSES: Final = get_args(Status)

Handler: TypeAlias = Callable[["Backend", "Request"], Awaitable[object] | AsyncIterator[Message]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path and method: who answers, and what goes in and out (for the OpenAPI page).

    A ``stream`` has one ``answer`` after the other.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    answer: type
    body: type | None = None
    query: tuple[tuple[str, type], ...] = ()
    stream: bool = False


# ------------------------------------------------------------------ definitions
async def _deploy(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.DeployRequest)
    return bodies.Definitions(list(await node.deploy(body.source, path=body.path)))


async def _definitions(node: Backend, _request: Request) -> object:
    return bodies.Definitions(list(await node.definitions()))


# ------------------------------------------------------------------ runs
async def _start(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.StartRequest)
    if not isinstance(body.input, (dict, list)):
        raise InvalidInput(
            "the input is a JSON object of the workflow's parameters, or a list in their order"
        )
    run = await node.start_run(body.name, body.input, id=body.id, version=body.version)
    if body.wait_ms > 0:
        return await _standing(node, run.id, body.wait_ms)
    return await node.show(run.id, local=True)  # it was there a moment ago


async def _show(node: Backend, request: Request) -> object:
    return await _standing(node, request.path_params["id"], _number(request, "wait_ms", 0))


async def _standing(node: Backend, run_id: str, wait_ms: int) -> RunView:
    """Return the run once it ended, or as it stands after ``wait_ms``."""
    if wait_ms > 0:
        return await node.wait(run_id, min(wait_ms, WAIT_MS_MAX) / 1000)
    return await node.show(run_id)


async def _list(node: Backend, request: Request) -> object:
    query = request.query_params
    status = query.get("status")
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"no status {status!r:.40}; there are: {', '.join(STATUSES)}")
    limit = _number(request, "limit", 100)
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidInput(f"limit is from 1 to {LIMIT_MAX:,}, not {limit}")
    runs = list(await node.list(status, query.get("name"), limit, query.get("after")))
    return bodies.Runs(runs, runs[-1].id if len(runs) == limit else None)


async def _signal(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.SignalRequest)
    path = request.path_params
    await node.signal(path["id"], path["name"], body.payload, id=body.id)
    return bodies.Accepted()


async def _history(node: Backend, request: Request) -> object:
    local = _flag(request, "local")
    return history_body(await node.history(request.path_params["id"], local=local))


def history_body(view: HistoryView) -> bodies.History:
    """Return a history as its JSON body."""
    return bodies.History(
        view.run_id,
        view.name,
        view.version,
        view.meaning_hash,
        view.node,
        view.sha256,
        view.kind,
        view.source,
        base64.b64encode(view.ir).decode("ascii"),
        [_event(position, data) for position, data in enumerate(view.events)],
    )


def _event(position: int, data: bytes) -> bodies.EventBody:
    event = decode(data)
    return bodies.EventBody(
        position,
        type(event).__name__,
        event._asdict(),
        describe(event),
        base64.b64encode(data).decode("ascii"),
    )


async def _query(node: Backend, request: Request) -> object:
    path = request.path_params
    return bodies.Answer(
        await node.query(path["id"], path["name"], consistent=_flag(request, "consistent"))
    )


async def _watch(node: Backend, request: Request) -> AsyncIterator[Message]:
    async for view in node.watch(request.path_params["id"]):
        yield Message("run", view)


async def _follow(node: Backend, request: Request) -> AsyncIterator[Message]:
    generation, position = _number(request, "generation", 0), _number(request, "position", 0)
    last = request.headers.get("last-event-id", "")
    if last:
        generation, position = _behind(last)
    run_id = request.path_params["id"]
    async for steps in node.follow(run_id, generation=generation, position=position):
        for number, data in enumerate(steps.events, steps.position):
            event = _event(number, data)
            fields = {field: getattr(event, field) for field in event.__slots__}
            body = bodies.StepBody(**fields, generation=steps.generation)
            yield Message("step", body, f"{steps.generation}.{number}")


def _behind(last: str) -> tuple[int, int]:
    """Return generation and position of the step behind the one that was seen last."""
    generation, dot, position = last.partition(".")
    if not dot or not generation.isdecimal() or not position.isdecimal() or len(last) > 40:
        raise InvalidInput(f"Last-Event-ID is the id of a step, such as 0.7, not {last!r:.40}")
    return int(generation), int(position) + 1


# ------------------------------------------------------------------ the cluster
async def _status(node: Backend, _request: Request) -> object:
    return await node.status()


async def _nodes(node: Backend, _request: Request) -> object:
    return bodies.Nodes(list(await node.nodes()))


async def _remove_node(node: Backend, request: Request) -> object:
    await bodies.read_body(request, bodies.Nothing)
    await node.remove_node(request.path_params["node"])
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
    Endpoint(
        "POST",
        "/v1/runs",
        "Start a run; with an id that is taken by the same name and input, join it.",
        _start,
        RunView,
        bodies.StartRequest,
    ),
    Endpoint(
        "GET",
        "/v1/runs",
        "List runs, newest first; after=ID goes on behind that run.",
        _list,
        bodies.Runs,
        query=(("status", str), ("name", str), ("limit", int), ("after", str)),
    ),
    Endpoint(
        "GET",
        "/v1/runs/{id}",
        "Show a run; wait_ms waits that long for its end first.",
        _show,
        RunView,
        query=(("wait_ms", int),),
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/signals/{name}",
        "Send a signal to a run.",
        _signal,
        bodies.Accepted,
        bodies.SignalRequest,
    ),
    Endpoint(
        "GET",
        "/v1/runs/{id}/history",
        "Return the settled steps of a run; local=1 reads this node's own copy.",
        _history,
        bodies.History,
        query=(("local", int),),
    ),
    Endpoint(
        "GET",
        "/v1/runs/{id}/watch",
        "Stream the run (`run`) as it stands and at each change of its standing, until it ended.",
        _watch,
        RunView,
        stream=True,
    ),
    Endpoint(
        "GET",
        "/v1/runs/{id}/events",
        "Stream the settled steps (`step`) as they come, until the run has ended; "
        "Last-Event-ID, or generation and position, say where to begin.",
        _follow,
        bodies.StepBody,
        query=(("generation", int), ("position", int)),
        stream=True,
    ),
    Endpoint(
        "GET",
        "/v1/runs/{id}/queries/{name}",
        "Answer a query of the run's workflow; consistent=1 brings the answering node up to date.",
        _query,
        bodies.Answer,
        query=(("consistent", int),),
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


# ------------------------------------------------------------------ the application
def application(node: Backend, bound_to: str = "127.0.0.1") -> Starlette:
    """Return the ASGI application of ``node``.

    ``bound_to`` is the host that the server listens on: besides loopback names it is the only one
    that a request's Host header may name.
    """
    routes = [Route(e.path, partial(_answer, node, e), methods=[e.method]) for e in ENDPOINTS]
    routes.append(Route("/openapi.json", _openapi, methods=["GET"]))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, bound_to=bound_to)],
        exception_handlers={HTTPException: _no_such_path},
    )


async def _answer(node: Backend, endpoint: Endpoint, request: Request) -> Response:
    doing = f"{endpoint.method} {request.url.path}"
    try:
        answered = endpoint.handler(node, request)
        if isinstance(answered, AsyncIterator):
            return await streamed(answered, doing)
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
        return refusal(405, "method_not_allowed", "this path takes another method")
    return refusal(error.status_code, "not_found", "no such path; /openapi.json lists them")


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "0") not in ("", "0", "false")


def _number(request: Request, name: str, default: int) -> int:
    text: Any = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput(f"{name} is a whole number, not {text!r:.40}")
    return int(text)
