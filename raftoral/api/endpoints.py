"""What an endpoint is, and how its request is read: paths, queries, flags.

A slash inside one segment of a path (``%2F``) belongs to a name, for example to the id of a child
run; `Segments` keeps it apart from those between segments, and `named` gives it back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

from raftoral.api.streams import Message
from raftoral.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from raftoral.api.backend import Backend

Handler: TypeAlias = Callable[["Backend", "Request"], Awaitable[object] | AsyncIterator[Message]]

_SLASH: Final = "\x01"
"""Stands for a slash that belongs to a name; no name may hold it."""


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


class Segments:
    """Middleware: an encoded slash does not end a segment of the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with such slashes replaced."""
        raw = scope.get("raw_path") if scope["type"] == "http" else None
        if raw and b"%2f" in raw.lower():
            parts = raw.decode("ascii", "replace").partition("?")[0].split("/")
            path = "/".join(unquote(part).replace("/", _SLASH) for part in parts)
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


def named(request: Request, name: str = "id") -> str:
    """Return a segment of the path as the caller meant it."""
    return str(request.path_params[name]).replace(_SLASH, "/")


def check_query(endpoint: Endpoint, request: Request) -> None:
    """Refuse a parameter of the query that the path does not know: it would change nothing."""
    known = [name for name, _ in endpoint.query]
    for name in request.query_params:
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "this path takes none"
            raise InvalidInput(f"no parameter {name!r:.60} of the query here; {there}")


def flag(request: Request, name: str) -> bool:
    """Return a yes or no of the query; it is no if it is not there."""
    return request.query_params.get(name, "0") not in ("", "0", "false")


def number(request: Request, name: str, default: int) -> int:
    """Return a whole number of the query."""
    return _number(name, request.query_params.get(name, ""), default)


def optional_number(request: Request, name: str) -> int | None:
    """Return a whole number of the query, None if it is not there."""
    text = request.query_params.get(name, "")
    return _number(name, text, 0) if text else None


def _number(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InvalidInput(f"{name} is a whole number of at most 9 digits, not {text!r:.40}")
    return int(text)


def moment(name: str, text: str | None) -> datetime | None:
    """Return an instant such as ``2026-11-25T09:00:00Z``, None for none."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(f"{name} is an instant such as 2026-11-25T09:00:00Z, not {text!r:.40}")
    return at


def choice(name: str, text: str | None, known: tuple[str, ...]) -> Any:
    """Return ``text`` if it is one of the known words, or None."""
    if text is not None and text not in known:
        raise InvalidInput(f"no {name} {text!r:.40}; there are: {', '.join(known)}")
    return text
