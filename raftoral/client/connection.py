"""One node's HTTP API as requests and answers; it raises what the node raised.

Owns how long a request is repeated and what is said when nobody answers. Whatever it sends carries
an id of its own or sets a state, so that repeating it is safe.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import quote

import httpx

from raftoral.client.failures import error_of
from raftoral.convert import from_json, to_json
from raftoral.errors import InvalidInput, Unavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.values import Value

DEFAULT_URL: Final = "http://127.0.0.1:7480"

_PAUSE_SECONDS: Final = 0.2
_SILENCE_SECONDS: Final = 45.0
"""How long a stream may say nothing: three times as long as a node does."""


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    body: dict[str, Any]
    id: str


class Connection:
    """See `raftoral.client.http.Client` for the arguments."""

    def __init__(
        self, url: str, timeout: float, patience: float, transport: httpx.BaseTransport | None
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._patience = patience
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

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -------------------------------------------------------------- one answer
    def get(
        self, path: str, query: dict[str, Any] | None = None, *, extra_s: float = 0.0
    ) -> dict[str, Any]:
        """Return the answer to a GET; what is None in the query is left out."""
        return self._request(self._build("GET", path, query), extra_s)

    def send(
        self, method: str, path: str, body: Value = None, *, extra_s: float = 0.0
    ) -> dict[str, Any]:
        """Return the answer to a request with a JSON body (none: an empty object)."""
        request = self._build(method, path, None, {} if body is None else body)
        return self._request(request, extra_s)

    def is_healthy(self) -> bool:
        """Tell whether the node is there and can serve."""
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def _build(
        self, method: str, path: str, query: dict[str, Any] | None, body: Value = None
    ) -> httpx.Request:
        known = {name: value for name, value in (query or {}).items() if value is not None}
        if body is None:
            return httpx.Request(method, self._http.base_url.join(path), params=known)
        return httpx.Request(
            method,
            self._http.base_url.join(path),
            content=to_json(body),
            headers={"content-type": "application/json"},
        )

    def _request(self, request: httpx.Request, extra_s: float) -> dict[str, Any]:
        """Send a request, again while the node is unavailable, for as long as patience lasts."""
        request.extensions["timeout"] = httpx.Timeout(self.timeout + extra_s).as_dict()
        end = time.monotonic() + self._patience
        while True:
            try:
                return _answer_of(self._exchange(request), self.url)
            except Unavailable as error:
                _pause(error, end)

    def _exchange(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return self._http.send(request, stream=stream)
        except httpx.TransportError as error:
            raise self._problem(error) from None

    def _problem(self, error: httpx.TransportError) -> Unavailable:
        match error:
            case httpx.ConnectError():
                return NotThere(
                    f"no node answers at {self.url}. Start one with `raftoral dev`, or name another "
                    "with --node URL or RAFTORAL_NODE"
                )
            case httpx.TimeoutException():
                return NotThere(
                    f"the node at {self.url} did not answer in time; `raftoral status` shows "
                    "whether a majority of the cluster is there"
                )
            case _:
                return Unavailable(f"the node at {self.url} broke off: {error}")

    # -------------------------------------------------------------- many answers
    def stream(self, path: str, query: dict[str, Any] | None = None) -> Iterator[Event]:
        """Yield the events of a stream until it ends; it goes on where it was broken off.

        The node is asked again for as long as patience lasts; behind the last event that had an id.
        """
        last_id, end = "", time.monotonic() + self._patience
        while True:
            try:
                for event in self._events(path, query, last_id):
                    last_id, end = event.id or last_id, time.monotonic() + self._patience
                    yield event
                return
            except Unavailable as error:
                _pause(error, end)

    def _events(self, path: str, query: dict[str, Any] | None, last_id: str) -> Iterator[Event]:
        request = self._build("GET", path, query)
        if last_id:
            request.headers["last-event-id"] = last_id
        limits = httpx.Timeout(self.timeout, read=_SILENCE_SECONDS)
        request.extensions["timeout"] = limits.as_dict()
        response = self._exchange(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                _answer_of(response, self.url)
            for event in _parsed(response.iter_lines()):
                if event.name == "end":
                    return
                if event.name == "error":
                    raise error_of(str(event.body.get("code")), str(event.body.get("message")))
                yield event
        except httpx.TransportError:
            pass
        finally:
            response.close()
        raise Unavailable(f"the node at {self.url} broke off in the middle of its answer")


class NotThere(Unavailable):
    """Nobody is there to ask again."""


def _pause(error: Unavailable, end: float) -> None:
    """Wait before asking again; raise ``error`` if nobody is there, or if that would be too late."""
    if isinstance(error, NotThere):
        raise Unavailable(str(error)) from None
    if time.monotonic() + _PAUSE_SECONDS > end:
        raise error
    time.sleep(_PAUSE_SECONDS)


def segment(text: str) -> str:
    """Return ``text`` as one segment of a path; `UsageError` for what no path can name."""
    if text in ("", ".", ".."):
        raise UsageError(
            f"{text!r} names nothing: neither a run or a schedule, nor what it is sent"
        )
    return quote(text, safe="")


def _parsed(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            body = from_json(fields["data"])
            yield Event(fields.get("event", ""), cast("dict[str, Any]", body), fields.get("id", ""))
            fields = {}
        else:
            fields = {}


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
