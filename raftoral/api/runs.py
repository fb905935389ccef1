"""The paths about runs: start, look, send, stop, let go on."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, get_args

from raftoral.api import bodies
from raftoral.api.endpoints import (
    Endpoint,
    choice,
    flag,
    moment,
    named,
    number,
    optional_number,
)
from raftoral.api.streams import Message
from raftoral.convert import from_json
from raftoral.errors import InvalidInput, WorkflowFailed
from raftoral.replay.history import decode
from raftoral.replay.wording import describe
from raftoral.runtime.views import Policy, RunView, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from raftoral.api.backend import Backend
    from raftoral.runtime.views import HistoryView

WAIT_MS_MAX: Final = 60_000
"""The longest that one request waits for the end of a run; ask again for more."""

LIMIT_MAX: Final = 1_000

STATUSES: Final = get_args(Status)
POLICIES: Final = get_args(Policy)


# ------------------------------------------------------------------ starting
async def _start(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.StartRequest)
    if not isinstance(body.input, (dict, list)):
        raise InvalidInput(
            "the input is a JSON object of the workflow's parameters, or a list in their order"
        )
    run = await node.start_run(
        body.name,
        body.input,
        id=body.id,
        version=body.version,
        policy=choice("policy", body.policy, POLICIES),
        request=body.request,
    )
    if body.wait_ms > 0:
        return await _standing(node, run.id, body.wait_ms)
    return await node.show(run.id, local=True)  # it was there a moment ago


async def _fork(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.ForkRequest)
    run = await node.fork(named(request), body.position, new_id=body.id, version=body.version)
    return await node.show(run.id, local=True)


async def _retry(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.RetryRequest)
    return bodies.Generation(await node.retry(named(request), generation=body.generation))


# ------------------------------------------------------------------ looking
async def _show(node: Backend, request: Request) -> object:
    return await _standing(node, named(request), number(request, "wait_ms", 0))


async def _standing(node: Backend, run_id: str, wait_ms: int) -> RunView:
    """Return the run once it ended, or as it stands after ``wait_ms``."""
    if wait_ms > 0:
        return await node.wait(run_id, min(wait_ms, WAIT_MS_MAX) / 1000)
    return await node.show(run_id)


async def _list(node: Backend, request: Request) -> object:
    query = request.query_params
    limit = number(request, "limit", 100)
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidInput(f"limit is from 1 to {LIMIT_MAX:,}, not {limit}")
    attributes = from_json(query.get("attributes") or "{}")
    if not isinstance(attributes, dict):
        raise InvalidInput("attributes is a JSON object from the path of a cell to its value")
    runs = list(
        await node.list(
            choice("status", query.get("status"), STATUSES),
            query.get("name"),
            limit,
            query.get("after"),
            version=optional_number(request, "version"),
            started_after=moment("started_after", query.get("started_after")),
            started_before=moment("started_before", query.get("started_before")),
            attributes=attributes,
        )
    )
    return bodies.Runs(runs, runs[-1].id if len(runs) == limit else None)


async def _query(node: Backend, request: Request) -> object:
    consistent = flag(request, "consistent")
    return bodies.Answer(
        await node.query(named(request), named(request, "name"), consistent=consistent)
    )


async def _watch(node: Backend, request: Request) -> AsyncIterator[Message]:
    async for view in node.watch(named(request)):
        yield Message("run", view)


# ------------------------------------------------------------------ settled steps
async def _history(node: Backend, request: Request) -> object:
    return history_body(await node.history(named(request), local=flag(request, "local")))


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


async def _follow(node: Backend, request: Request) -> AsyncIterator[Message]:
    generation, position = number(request, "generation", 0), number(request, "position", 0)
    last = request.headers.get("last-event-id", "")
    if last:
        generation, position = _behind(last)
    async for steps in node.follow(named(request), generation=generation, position=position):
        for place, data in enumerate(steps.events, steps.position):
            event = _event(place, data)
            fields = {field: getattr(event, field) for field in bodies.EventBody.__slots__}
            body = bodies.StepBody(**fields, generation=steps.generation)
            yield Message("step", body, f"{steps.generation}.{place}")


def _behind(last: str) -> tuple[int, int]:
    """Return generation and position of the step behind the one that was seen last."""
    generation, dot, position = last.partition(".")
    if not dot or not generation.isdecimal() or not position.isdecimal() or len(last) > 40:
        raise InvalidInput(f"Last-Event-ID is the id of a step, such as 0.7, not {last!r:.40}")
    return int(generation), int(position) + 1


# ------------------------------------------------------------------ sending
async def _signal(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.SignalRequest)
    await node.signal(named(request), named(request, "name"), body.payload, id=body.id)
    return bodies.Accepted()


async def _update(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.UpdateRequest)
    seconds = min(body.wait_ms, WAIT_MS_MAX) / 1000
    try:
        answer = await node.update(
            named(request), named(request, "name"), body.payload, id=body.id, timeout=seconds
        )
    except TimeoutError:
        return bodies.UpdateAnswer(answered=False)
    return bodies.UpdateAnswer(answered=True, value=answer)


async def _complete(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.CompleteRequest)
    await node.complete_callback(body.token, body.value)
    return bodies.Accepted()


async def _fail(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.FailRequest)
    failure = WorkflowFailed(body.name, body.message, body.details)
    await node.fail_callback(body.token, failure)
    return bodies.Accepted()


async def _beat(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.BeatRequest)
    await node.beat_callback(body.token)
    return bodies.Accepted()


# ------------------------------------------------------------------ stopping
async def _cancel(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.Because)
    await node.cancel(named(request), reason=body.reason, request=body.request)
    return bodies.Accepted()


async def _terminate(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.Because)
    await node.terminate(named(request), reason=body.reason, request=body.request)
    return bodies.Accepted()


async def _pause(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.Because)
    await node.pause(named(request), reason=body.reason, request=body.request)
    return bodies.Accepted()


async def _resume(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.Again)
    await node.resume(named(request), request=body.request)
    return bodies.Accepted()


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/runs",
        "Start a run; policy says what happens if the id is taken.",
        _start,
        RunView,
        bodies.StartRequest,
    ),
    Endpoint(
        "GET",
        "/v1/runs",
        "List runs, newest first; after=ID goes on behind that run, attributes is a JSON object "
        "from the path of a searched cell to its value.",
        _list,
        bodies.Runs,
        query=(
            ("status", str),
            ("name", str),
            ("version", int),
            ("started_after", str),
            ("started_before", str),
            ("attributes", str),
            ("limit", int),
            ("after", str),
        ),
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
        "GET",
        "/v1/runs/{id}/watch",
        "Stream the run (`run`) as it stands and at each change of its standing, until it ended.",
        _watch,
        RunView,
        query=(("wait_ms", int),),
        stream=True,
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
        "/v1/runs/{id}/events",
        "Stream the settled steps (`step`) as they come, until the run has ended; "
        "Last-Event-ID, or generation and position, say where to begin.",
        _follow,
        bodies.StepBody,
        query=(("generation", int), ("position", int), ("wait_ms", int)),
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
    Endpoint(
        "POST",
        "/v1/runs/{id}/signals/{name}",
        "Send a signal to a run; the same id is one signal.",
        _signal,
        bodies.Accepted,
        bodies.SignalRequest,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/updates/{name}",
        "Send a request to a run and wait for its answer; the same id is one request.",
        _update,
        bodies.UpdateAnswer,
        bodies.UpdateRequest,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/cancel",
        "Ask a run to stop.",
        _cancel,
        bodies.Accepted,
        bodies.Because,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/terminate",
        "End a run at once; none of its code runs any more.",
        _terminate,
        bodies.Accepted,
        bodies.Because,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/pause",
        "Let a run begin nothing more.",
        _pause,
        bodies.Accepted,
        bodies.Because,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/resume",
        "Let a paused run go on.",
        _resume,
        bodies.Accepted,
        bodies.Again,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/retry",
        "Let a run that ended without completing go on from before what it failed by.",
        _retry,
        bodies.Generation,
        bodies.RetryRequest,
    ),
    Endpoint(
        "POST",
        "/v1/runs/{id}/fork",
        "Begin a run with the first settled steps of this one.",
        _fork,
        RunView,
        bodies.ForkRequest,
    ),
    Endpoint(
        "POST",
        "/v1/callbacks/complete",
        "Complete a step that waits for whoever holds the token.",
        _complete,
        bodies.Accepted,
        bodies.CompleteRequest,
    ),
    Endpoint(
        "POST",
        "/v1/callbacks/fail",
        "Complete a step that waits for whoever holds the token, with a failure.",
        _fail,
        bodies.Accepted,
        bodies.FailRequest,
    ),
    Endpoint(
        "POST",
        "/v1/callbacks/beat",
        "Tell that the holder of the token is still at it.",
        _beat,
        bodies.Accepted,
        bodies.BeatRequest,
    ),
)
