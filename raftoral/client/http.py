"""A blocking client of one node's HTTP API; it raises what the node raised.

Ids of runs and signals are made here when the caller gives none, so a request whose answer was lost
can be repeated without starting anything twice.
"""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import quote

import httpx

from raftoral.client.failures import error_of
from raftoral.convert import from_json, from_plain, to_json
from raftoral.errors import InvalidInput, Unavailable, UsageError
from raftoral.runtime.views import ClusterView, DefinitionView, HistoryView, NodeView, RunView

if TYPE_CHECKING:
    from types import TracebackType

    from raftoral.values import Value

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:7480"

_WAIT_SECONDS_A_REQUEST: Final = 25.0
_PAUSE_SECONDS: Final = 0.2


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
        self.url = url.rstrip("/")
        self._patience = patience
        self._timeout = timeout
        try:
            # No proxies from the environment: a node is near, and often on this machine.
            self._http = httpx.Client(
                base_url=self.url,
                timeout=timeout,
                transport=transport,
                trust_env=False,
                verify=self.url.startswith("https:"),  # loading certificates takes 20 ms
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise UsageError(f"{url!r:.80} is no URL of a node: {error}") from None
        if self._http.base_url.scheme not in ("http", "https") or not self._http.base_url.host:
            raise UsageError(f"{url!r:.80} is no URL of a node; write it like {DEFAULT_URL}")

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
        self._http.close()

    # -------------------------------------------------------------- definitions
    def deploy(self, source: str, path: str = "<text>") -> list[DefinitionView]:
        """Deploy every workflow of a `.rwf` text; ``path`` is what diagnostics call it."""
        answer = self._post("/v1/definitions", {"source": source, "path": path})
        return _views(answer, "definitions", DefinitionView)

    def definitions(self) -> list[DefinitionView]:
        """Return every deployed version."""
        return _views(self._get("/v1/definitions"), "definitions", DefinitionView)

    # -------------------------------------------------------------- runs
    def start(
        self,
        name: str,
        input: Value = None,
        *,
        id: str | None = None,
        version: int | None = None,
    ) -> RunView:
        """Start a run, or join the run of the same id, name and input."""
        body: dict[str, Value] = {
            "name": name,
            "input": {} if input is None else input,
            "id": id or uuid.uuid4().hex,
            "version": version,
        }
        return _view(self._post("/v1/runs", body), RunView)

    def show(self, run_id: str, *, wait_ms: int = 0) -> RunView:
        """Return the run as it stands, after at most ``wait_ms`` if it has not ended before."""
        return _view(
            self._get(
                f"/v1/runs/{quote(run_id, safe='')}",
                {"wait_ms": wait_ms} if wait_ms else {},
                timeout=self._timeout + wait_ms / 1000,
            ),
            RunView,
        )

    def wait(self, run_id: str, timeout: float | None = None) -> RunView:
        """Return the run once it ended, or as it stands after ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _WAIT_SECONDS_A_REQUEST if end is None else end - time.monotonic()
            span = max(0.0, min(left, _WAIT_SECONDS_A_REQUEST))
            view = self.show(run_id, wait_ms=int(span * 1000))
            if view.ended or (end is not None and time.monotonic() >= end - 0.001):
                return view

    def runs(
        self,
        status: str | None = None,
        name: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunView]:
        """Return at most ``limit`` runs, newest first, from behind the run ``after`` on."""
        query = {"status": status, "name": name, "limit": limit, "after": after}
        answer = self._get("/v1/runs", {k: v for k, v in query.items() if v is not None})
        return _views(answer, "runs", RunView)

    def signal(
        self, run_id: str, name: str, payload: Value = None, *, id: str | None = None
    ) -> None:
        """Send a signal to a run; the same ``id`` is one signal."""
        path = f"/v1/runs/{quote(run_id, safe='')}/signals/{quote(name, safe='')}"
        self._post(path, {"payload": payload, "id": id or uuid.uuid4().hex})

    def history(self, run_id: str, *, local: bool = False) -> HistoryView:
        """Return the settled steps of a run; ``local`` asks for this node's own copy."""
        return history_of(self.history_body(run_id, local=local))

    def history_body(self, run_id: str, *, local: bool = False) -> dict[str, Any]:
        """Return the same as JSON, with each event's kind, fields and text."""
        return self._get(
            f"/v1/runs/{quote(run_id, safe='')}/history", {"local": 1} if local else {}
        )

    # -------------------------------------------------------------- the cluster
    def status(self) -> ClusterView:
        """Return the cluster as the node sees it."""
        return _view(self._get("/v1/status"), ClusterView)

    def nodes(self) -> list[NodeView]:
        """Return the nodes of the cluster."""
        return _views(self._get("/v1/nodes"), "nodes", NodeView)

    def remove_node(self, node: int | str) -> None:
        """Have a node, by id or name, leave the cluster for good; `nodes` shows how far that is."""
        self._post(f"/v1/nodes/{quote(str(node), safe='')}/remove", {})

    def healthy(self) -> bool:
        """Tell whether the node is there and can serve."""
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    # -------------------------------------------------------------- requests
    def _get(
        self, path: str, query: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        return self._request(
            httpx.Request("GET", self._http.base_url.join(path), params=query), timeout
        )

    def _post(self, path: str, body: Value) -> dict[str, Any]:
        return self._request(
            httpx.Request(
                "POST",
                self._http.base_url.join(path),
                content=to_json(body),
                headers={"content-type": "application/json"},
            )
        )

    def _request(self, request: httpx.Request, timeout: float | None = None) -> dict[str, Any]:
        request.extensions["timeout"] = httpx.Timeout(timeout or self._timeout).as_dict()
        end = time.monotonic() + self._patience
        while True:
            try:
                return self._once(request)
            except _Gone as error:
                raise Unavailable(str(error)) from None
            except Unavailable:
                if time.monotonic() + _PAUSE_SECONDS > end:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def _once(self, request: httpx.Request) -> dict[str, Any]:
        try:
            response = self._http.send(request)
        except httpx.ConnectError:
            raise _Gone(
                f"no node answers at {self.url}. Start one with `raftoral dev`, or name another "
                "with --node URL or RAFTORAL_NODE"
            ) from None
        except httpx.TimeoutException:
            raise _Gone(
                f"the node at {self.url} did not answer in time; `raftoral status` shows whether "
                "a majority of the cluster is there"
            ) from None
        except httpx.TransportError as error:
            raise _Gone(f"the node at {self.url} broke off: {error}") from None
        return _answer_of(response, self.url)


class _Gone(Unavailable):
    """Nobody is there to ask again."""


def history_of(body: dict[str, Any]) -> HistoryView:
    """Return the JSON of a history as a view, with the canonical bytes of its events."""
    events = [base64.b64decode(event["bytes"]) for event in body["events"]]
    return _view({**body, "events": events, "ir": base64.b64decode(body["ir"])}, HistoryView)


def _answer_of(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        answer = from_json(response.content)
    except InvalidInput:
        answer = None
    if not isinstance(answer, dict):
        raise UsageError(f"something answers at {url}, but it is no Raftoral node")
    if response.is_success:
        return cast("dict[str, Any]", answer)
    failure = answer.get("error")
    if not isinstance(failure, dict):
        raise UsageError(f"something answers at {url}, but it is no Raftoral node")
    raise error_of(str(failure.get("code")), str(failure.get("message")))


def _view(answer: object, kind: type[T]) -> T:
    return cast(T, from_plain(answer, kind))


def _views(answer: dict[str, Any], name: str, kind: type[T]) -> list[T]:
    return [_view(item, kind) for item in answer[name]]
