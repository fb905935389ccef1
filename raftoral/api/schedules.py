"""The paths about schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from raftoral.api import bodies
from raftoral.api.endpoints import Endpoint, choice, moment, named, optional_number
from raftoral.errors import InvalidInput
from raftoral.runtime.views import Overlap, ScheduleView

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request

    from raftoral.api.backend import Backend

OVERLAPS: Final = get_args(Overlap)


async def _put(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.PutScheduleRequest)
    return await node.put_schedule(
        named(request),
        body.name,
        body.input,
        when=body.when,
        zone=body.zone,
        version=body.version,
        overlap=choice("overlap", body.overlap, OVERLAPS),
        start=moment("start", body.start),
        end=moment("end", body.end),
        catch_up=body.catch_up,
    )


async def _show(node: Backend, request: Request) -> object:
    return await node.schedule(named(request))


async def _list(node: Backend, _request: Request) -> object:
    return bodies.Schedules(list(await node.schedules()))


async def _drop(node: Backend, request: Request) -> object:
    await node.drop_schedule(named(request), revision=optional_number(request, "revision"))
    return bodies.Accepted()


async def _pause(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.Because)
    await node.pause_schedule(named(request), reason=body.reason, request=body.request)
    return bodies.Accepted()


async def _resume(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.Again)
    await node.resume_schedule(named(request), request=body.request)
    return bodies.Accepted()


async def _trigger(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.TriggerRequest)
    run_id = await node.trigger_schedule(named(request), at=moment("at", body.at))
    return bodies.Triggered([run_id])


async def _backfill(node: Backend, request: Request) -> object:
    body = await bodies.read_body(request, bodies.BackfillRequest)
    start, end = _needed("start", body.start), _needed("end", body.end)
    return bodies.Triggered(list(await node.backfill_schedule(named(request), start, end)))


def _needed(name: str, text: str) -> datetime:
    at = moment(name, text)
    if at is None:
        raise InvalidInput(f"{name} is an instant such as 2026-11-25T09:00:00Z")
    return at


ENDPOINTS: Final = (
    Endpoint(
        "PUT",
        "/v1/schedules/{id}",
        "Store a schedule, in place of the one of this id.",
        _put,
        ScheduleView,
        bodies.PutScheduleRequest,
    ),
    Endpoint("GET", "/v1/schedules/{id}", "Show a schedule.", _show, ScheduleView),
    Endpoint("GET", "/v1/schedules", "List the schedules, by id.", _list, bodies.Schedules),
    Endpoint(
        "DELETE",
        "/v1/schedules/{id}",
        "Remove a schedule, if it is at that revision; its runs go on.",
        _drop,
        bodies.Accepted,
        query=(("revision", int),),
    ),
    Endpoint(
        "POST",
        "/v1/schedules/{id}/pause",
        "Let a schedule fire no more.",
        _pause,
        bodies.Accepted,
        bodies.Because,
    ),
    Endpoint(
        "POST",
        "/v1/schedules/{id}/resume",
        "Let a paused schedule fire again, from now on.",
        _resume,
        bodies.Accepted,
        bodies.Again,
    ),
    Endpoint(
        "POST",
        "/v1/schedules/{id}/trigger",
        "Start a run of a schedule now; the same moment is one run.",
        _trigger,
        bodies.Triggered,
        bodies.TriggerRequest,
    ),
    Endpoint(
        "POST",
        "/v1/schedules/{id}/backfill",
        "Start the runs of a schedule's times from start to end, at most 1,000.",
        _backfill,
        bodies.Triggered,
        bodies.BackfillRequest,
    ),
)
