"""A blocking client of one node's HTTP API; it raises what the node raised.

Ids of runs, signals, updates, changes and moments are made here when the caller gives none, so a request
whose answer was lost can be repeated without anything happening twice.
"""

from __future__ import annotations

import base64
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from raftoral.client.connection import DEFAULT_URL, Connection, segment
from raftoral.convert import from_plain, to_json
from raftoral.errors import UnknownSchedule
from raftoral.runtime.views import (
    ClusterView,
    DefinitionView,
    HistoryView,
    NodeView,
    RunView,
    ScheduleView,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import httpx

    from raftoral.runtime.views import Overlap, Policy
    from raftoral.values import Value

__all__ = ["DEFAULT_URL", "Client", "history_of"]

T = TypeVar("T")

_WAIT_MS_A_REQUEST: Final = 25_000


class Client:
    """One node, over HTTP. Safe to use from one thread at a time.

    ``timeout`` is how many seconds one answer may take (waiting for a run aside). For
    ``patience`` seconds a request is repeated while the node answers that it is unavailable, as
    it does during an election; a node that is not there at all is told at once.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 10.0,
        patience: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._node = Connection(url, timeout, patience, transport)

    @property
    def url(self) -> str:
        """The node's URL."""
        return self._node.url

    def __enter__(self) -> Client:
        """Return this client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._node.close()

    # -------------------------------------------------------------- definitions
    def deploy(self, source: str, path: str = "<text>") -> list[DefinitionView]:
        """Deploy every workflow of a `.rwf` text; ``path`` is what diagnostics call it."""
        answer = self._node.send("POST", "/v1/definitions", {"source": source, "path": path})
        return _views(answer, "definitions", DefinitionView)

    def definitions(self) -> list[DefinitionView]:
        """Return every deployed version."""
        return _views(self._node.get("/v1/definitions"), "definitions", DefinitionView)

    # -------------------------------------------------------------- starting
    def start(
        self,
        name: str,
        input: Value = None,
        *,
        id: str | None = None,
        version: int | None = None,
        policy: Policy = "join",
    ) -> RunView:
        """Start a run; ``policy`` says what happens if the id is taken."""
        body: dict[str, Value] = {
            "name": name,
            "input": {} if input is None else input,
            "id": id or uuid.uuid4().hex,
            "version": version,
            "policy": policy,
            "request": uuid.uuid4().hex,
        }
        return _view(self._node.send("POST", "/v1/runs", body), RunView)

    def fork(
        self, run_id: str, position: int, *, new_id: str | None = None, version: int | None = None
    ) -> RunView:
        """Begin a run with the first ``position`` settled steps of another one."""
        body: dict[str, Value] = {
            "position": position,
            "id": new_id or uuid.uuid4().hex,
            "version": version,
        }
        return _view(self._node.send("POST", f"{_run(run_id)}/fork", body), RunView)

    def retry(self, run_id: str) -> int:
        """Let a run that ended without completing go on; return its new generation."""
        ended = self.show(run_id).generation
        answer = self._node.send("POST", f"{_run(run_id)}/retry", {"generation": ended})
        return int(answer["generation"])

    # -------------------------------------------------------------- looking
    def show(self, run_id: str, *, wait_ms: int = 0) -> RunView:
        """Return the run as it stands, after at most ``wait_ms`` if it has not ended before."""
        query = {"wait_ms": wait_ms or None}
        return _view(self._node.get(_run(run_id), query, extra_s=wait_ms / 1000), RunView)

    def watch(self, run_id: str, timeout: float | None = None) -> Iterator[RunView]:
        """Yield the run as it stands, and at each change of its standing, until it ended.

        Or until ``timeout`` seconds have passed.
        """
        query = {"wait_ms": None if timeout is None else int(timeout * 1000)}
        for event in self._node.stream(f"{_run(run_id)}/watch", query):
            yield _view(event.body, RunView)

    def wait(self, run_id: str, timeout: float | None = None) -> RunView:
        """Return the run once it ended, or as it stands after ``timeout`` seconds."""
        view: RunView | None = None
        for view in self.watch(run_id, timeout):  # noqa: B007  # the last one is wanted
            pass
        return view if view is not None and view.ended else self.show(run_id)

    def runs(
        self,
        status: str | None = None,
        name: str | None = None,
        limit: int = 100,
        after: str | None = None,
        *,
        version: int | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> list[RunView]:
        """Return at most ``limit`` runs, newest first, from behind the run ``after`` on.

        What is None may be anything; ``attributes`` are values that searched cells must have.
        """
        query = {
            "status": status,
            "name": name,
            "limit": limit,
            "after": after,
            "version": version,
            "started_after": None if started_after is None else started_after.isoformat(),
            "started_before": None if started_before is None else started_before.isoformat(),
            "attributes": to_json(attributes).decode() if attributes else None,
        }
        return _views(self._node.get("/v1/runs", query), "runs", RunView)

    def history(self, run_id: str, *, local: bool = False) -> HistoryView:
        """Return the settled steps of a run; ``local`` asks for this node's own copy."""
        return history_of(self.history_body(run_id, local=local))

    def history_body(self, run_id: str, *, local: bool = False) -> dict[str, Any]:
        """Return the same as JSON, with each event's kind, fields and text."""
        return self._node.get(f"{_run(run_id)}/history", {"local": 1 if local else None})

    def follow(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Yield the settled steps as JSON as they come, until the run has ended."""
        for event in self._node.stream(f"{_run(run_id)}/events"):
            yield event.body

    def query(self, run_id: str, name: str, *, consistent: bool = False) -> Value:
        """Return what a query of the run's workflow answers."""
        path = f"{_run(run_id)}/queries/{segment(name)}"
        return cast(
            "Value", self._node.get(path, {"consistent": 1 if consistent else None})["value"]
        )

    # -------------------------------------------------------------- sending
    def signal(
        self, run_id: str, name: str, payload: Value = None, *, id: str | None = None
    ) -> None:
        """Send a signal to a run; the same ``id`` is one signal."""
        body: Value = {"payload": payload, "id": id or uuid.uuid4().hex}
        self._node.send("POST", f"{_run(run_id)}/signals/{segment(name)}", body)

    def update(
        self,
        run_id: str,
        name: str,
        payload: Value = None,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> Value:
        """Send a request to a run and return its answer; the same ``id`` is one request.

        `TimeoutError` after ``timeout`` seconds; `UpdateRefused` if the run refuses it.
        """
        mark = id or uuid.uuid4().hex
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left_ms = _WAIT_MS_A_REQUEST if end is None else int((end - time.monotonic()) * 1000)
            wait_ms = max(0, min(left_ms, _WAIT_MS_A_REQUEST))
            body: Value = {"payload": payload, "id": mark, "wait_ms": wait_ms}
            path = f"{_run(run_id)}/updates/{segment(name)}"
            answer = self._node.send("POST", path, body, extra_s=wait_ms / 1000)
            if answer["answered"]:
                return cast("Value", answer["value"])
            if end is not None and time.monotonic() >= end - 0.001:
                raise TimeoutError(
                    f"run {run_id} has not answered update {mark} within {timeout} s; "
                    "ask again with the same id"
                )

    def complete_callback(self, token: str, value: Value = None) -> None:
        """Complete a step that waits for whoever holds ``token``."""
        self._node.send("POST", "/v1/callbacks/complete", {"token": token, "value": value})

    def fail_callback(
        self, token: str, name: str, message: str = "", details: dict[str, Value] | None = None
    ) -> None:
        """Complete a step that waits for whoever holds ``token``, with a failure."""
        body: Value = {
            "token": token,
            "name": name,
            "message": message,
            "details": details or {},
        }
        self._node.send("POST", "/v1/callbacks/fail", body)

    def beat_callback(self, token: str) -> None:
        """Tell that the holder of ``token`` is still at it."""
        self._node.send("POST", "/v1/callbacks/beat", {"token": token})

    # -------------------------------------------------------------- stopping
    def cancel(self, run_id: str, reason: str = "", *, request: str | None = None) -> None:
        """Ask a run to stop; here and below the same ``request`` is one change."""
        self._node.send("POST", f"{_run(run_id)}/cancel", _asked(request, reason=reason))

    def terminate(self, run_id: str, reason: str = "", *, request: str | None = None) -> None:
        """End a run at once; none of its code runs any more."""
        self._node.send("POST", f"{_run(run_id)}/terminate", _asked(request, reason=reason))

    def pause(self, run_id: str, reason: str = "", *, request: str | None = None) -> None:
        """Let a run begin nothing more."""
        self._node.send("POST", f"{_run(run_id)}/pause", _asked(request, reason=reason))

    def resume(self, run_id: str, *, request: str | None = None) -> None:
        """Let a paused run go on."""
        self._node.send("POST", f"{_run(run_id)}/resume", _asked(request))

    # -------------------------------------------------------------- schedules
    def put_schedule(
        self,
        schedule: str,
        name: str,
        input: Value = None,
        *,
        when: str,
        zone: str = "UTC",
        version: int | None = None,
        overlap: Overlap = "skip",
        start: datetime | None = None,
        end: datetime | None = None,
        catch_up: str | None = None,
    ) -> ScheduleView:
        """Store a schedule, in place of the one of this id; see `raftoral.Node.put_schedule`."""
        body: dict[str, Value] = {
            "name": name,
            "when": when,
            "input": {} if input is None else input,
            "version": version,
            "zone": zone,
            "overlap": overlap,
            "start": None if start is None else start.isoformat(),
            "end": None if end is None else end.isoformat(),
            "catch_up": catch_up,
        }
        return _view(self._node.send("PUT", _schedule(schedule), body), ScheduleView)

    def schedule(self, schedule: str) -> ScheduleView:
        """Return a schedule as it stands."""
        return _view(self._node.get(_schedule(schedule)), ScheduleView)

    def schedules(self) -> list[ScheduleView]:
        """Return all schedules, by id."""
        return _views(self._node.get("/v1/schedules"), "schedules", ScheduleView)

    def pause_schedule(
        self, schedule: str, reason: str = "", *, request: str | None = None
    ) -> None:
        """Let a schedule fire no more; the same ``request`` does so once."""
        body = _asked(request, reason=reason)
        self._node.send("POST", f"{_schedule(schedule)}/pause", body)

    def resume_schedule(self, schedule: str, *, request: str | None = None) -> None:
        """Let a paused schedule fire again, from now on; the same ``request`` does so once."""
        self._node.send("POST", f"{_schedule(schedule)}/resume", _asked(request))

    def drop_schedule(self, schedule: str) -> None:
        """Remove a schedule as it is now; its runs go on. One that is not there is fine."""
        try:
            revision = self.schedule(schedule).revision
        except UnknownSchedule:
            return
        self._node.send("DELETE", f"{_schedule(schedule)}?revision={revision}")

    def trigger_schedule(self, schedule: str, at: datetime | None = None) -> str:
        """Start a run of a schedule now, whatever goes on; return its id."""
        moment = (at or datetime.now(UTC)).isoformat(timespec="milliseconds")
        answer = self._node.send("POST", f"{_schedule(schedule)}/trigger", {"at": moment})
        return str(answer["runs"][0])

    def backfill_schedule(self, schedule: str, start: datetime, end: datetime) -> list[str]:
        """Start the runs of a schedule's times from ``start`` to ``end``; return their ids."""
        body: Value = {"start": start.isoformat(), "end": end.isoformat()}
        return [*self._node.send("POST", f"{_schedule(schedule)}/backfill", body)["runs"]]

    # -------------------------------------------------------------- the cluster
    def status(self) -> ClusterView:
        """Return the cluster as the node sees it."""
        return _view(self._node.get("/v1/status"), ClusterView)

    def nodes(self) -> list[NodeView]:
        """Return the nodes of the cluster."""
        return _views(self._node.get("/v1/nodes"), "nodes", NodeView)

    def remove_node(self, node: int | str) -> None:
        """Have a node leave the cluster for good; `nodes` shows how far it is."""
        self._node.send("POST", f"/v1/nodes/{segment(str(node))}/remove")

    def healthy(self) -> bool:
        """Tell whether the node is there and can serve."""
        return self._node.is_healthy()


def _asked(request: str | None, **fields: Value) -> Value:
    """Return the body of a change, with an id that makes repeating it safe."""
    return {**fields, "request": request or uuid.uuid4().hex}


def _run(run_id: str) -> str:
    return f"/v1/runs/{segment(run_id)}"


def _schedule(schedule: str) -> str:
    return f"/v1/schedules/{segment(schedule)}"


def history_of(body: dict[str, Any]) -> HistoryView:
    """Return the JSON of a history as a view, with the canonical bytes of its events."""
    events = [base64.b64decode(event["bytes"]) for event in body["events"]]
    return _view({**body, "events": events, "ir": base64.b64decode(body["ir"])}, HistoryView)


def _view(answer: object, kind: type[T]) -> T:
    return cast(T, from_plain(answer, kind))


def _views(answer: dict[str, Any], name: str, kind: type[T]) -> list[T]:
    return [_view(item, kind) for item in answer[name]]
