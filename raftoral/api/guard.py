"""What a request must look like before anything reads it: whom it names, and what it carries.

A node on localhost is within reach of every web page that its user opens. A page cannot set the
Host header, nor send ``application/json`` to another origin without being asked first, so both are
checked for every request: this is what keeps pages (and names that were pointed at 127.0.0.1) out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from raftoral.api.failures import refusal
from raftoral.transport.addresses import ip_of, is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

BODY_BYTES_MAX: Final = 1024 * 1024
"""Larger bodies are refused unread."""


def host_of(header: str) -> str:
    """Return the host of a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.rpartition(":")[0] if ":" in header else header


class Guard:
    """Refuses requests that name another host, or carry a body that is no JSON or too large."""

    def __init__(self, app: ASGIApp, bound_to: str = "127.0.0.1") -> None:
        self._app = app
        self._bound_to = bound_to.lower()
        # Bound to every interface, the node has addresses that nobody told it. A page can bring a
        # name that points here, but no address of its own, so any address may stand in Host.
        address = ip_of(bound_to)
        self._any_address = address is not None and address.is_unspecified

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, 411, 413 or 415, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused_host(headers) or self._refused_body(scope["method"], headers)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await refusal(*refused)(scope, receive, send)

    def _refused_host(self, headers: Headers) -> tuple[int, str, str] | None:
        host = host_of(headers.get("host", ""))
        if is_loopback(host) or host.lower() == self._bound_to:
            return None
        if self._any_address and ip_of(host) is not None:
            return None
        return (
            403,
            "forbidden_host",
            f"the Host header names {host!r:.80}; this node answers to localhost and to "
            f"{self._bound_to}",
        )

    def _refused_body(self, method: str, headers: Headers) -> tuple[int, str, str] | None:
        if method not in ("POST", "PUT", "PATCH"):
            return None  # None carries a body; no page may send a DELETE.
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return (
                415,
                "unsupported_media_type",
                "send the body as JSON, with the header `Content-Type: application/json`",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return (413, "limit_exceeded", too_large())
        return None


def too_large() -> str:
    """Return what a caller whose body is too large is told."""
    return f"the body is larger than {BODY_BYTES_MAX:,} bytes, the most that a request may carry"
