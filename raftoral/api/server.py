"""Serves the application on the loop that calls it, until told to stop.

Owns the listening socket. Binds to loopback only unless told otherwise, because the API knows no
callers' names. Never touches signals: the process belongs to the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from raftoral.api.app import application
from raftoral.errors import Unavailable, UsageError
from raftoral.transport.addresses import is_loopback
from raftoral.transport.ports import holder_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from raftoral.api.backend import Backend

STOP_SECONDS: Final = 1
"""How long requests in flight may take to end once the server stops."""


def listener(host: str, port: int, *, insecure: bool = False) -> socket.socket:
    """Return a bound socket; port 0 lets the system choose.

    Raises `UsageError` for a host beyond loopback without ``insecure`` and for one that is no
    address of this machine, and `Unavailable` for a taken port, with its holder if that is known.
    """
    if not insecure and not is_loopback(host):
        raise UsageError(
            f"--http {host}:{port} would open the API to other machines, and it asks nobody for "
            "a name. Bind it to 127.0.0.1, or say --insecure if that network is yours alone"
        )
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise UsageError(f"--http {host}:{port} names no address: {error}") from None
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(128)  # Linux tells that a port is taken here when both sides bound first.
    except OSError as error:
        sock.close()
        raise _cannot_bind(host, port, error) from None
    return sock


def _cannot_bind(host: str, port: int, error: OSError) -> UsageError | Unavailable:
    if error.errno != errno.EADDRINUSE:
        return UsageError(f"cannot listen for HTTP on {host}:{port}: {error.strerror}")
    holder = holder_of(port)
    return Unavailable(
        f"port {port} for HTTP is taken" + (f" by {holder}" if holder else "") + "; stop that "
        "process or choose another port with --http HOST:PORT"
    )


@contextlib.asynccontextmanager
async def serve(
    node: Backend,
    host: str = "127.0.0.1",
    port: int = 7480,
    *,
    insecure: bool = False,
    sock: socket.socket | None = None,
) -> AsyncIterator[str]:
    """Serve ``node`` while the context is open; the value is the URL.

    ``sock`` is a socket that `listener` returned earlier. On leaving, no more connections are
    taken, and requests in flight get `STOP_SECONDS` to end. Errors are those of `listener`.
    """
    sock = sock or listener(host, port, insecure=insecure)
    app = application(node, host)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([sock]), name="raftoral-http")
    try:
        await server.started_or_failed(task)
        name = f"[{host.strip('[]')}]" if ":" in host else host
        yield f"http://{name}:{sock.getsockname()[1]}"
    finally:
        app.state.stopping.set()
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """uvicorn without its hands on the process's signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()

    async def started_or_failed(self, task: asyncio.Task[None]) -> None:
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({up, task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if task.done():
            task.result()
