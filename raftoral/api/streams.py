"""Answers that go on while something happens: server-sent events.

Owns the form of a stream. A named event carries JSON; ``end`` tells that all was said, ``error``
carries a code and a message; a stream that ends without either was cut off. A comment now and then
shows that the connection lives.

Source: the HTML standard, section "Server-sent events".
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import StreamingResponse

from raftoral.api.failures import problem_of
from raftoral.convert import to_json
from raftoral.errors import NodeStopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALIVE_SECONDS: Final = 15.0
"""How long a stream says nothing at most."""

SOON_SECONDS: Final = 1.0
"""How long the first event is waited for until the answer begins without it."""


class Message(NamedTuple):
    """One event of a stream: its name, its body, and an id to go on behind it."""

    name: str
    body: object
    id: str = ""

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        mark = f"id: {self.id}\n" if self.id else ""
        return b"%sevent: %s\ndata: %s\n\n" % (
            mark.encode(),
            self.name.encode(),
            to_json(self.body),
        )


async def streamed(
    messages: AsyncIterator[Message], doing: str, stopping: asyncio.Event, seconds: float | None
) -> StreamingResponse:
    """Return the answer that sends ``messages``.

    Errors that come soon are raised, so that they have a status; later ones are events. After
    ``seconds`` it ends, whatever may still come; when the server is ``stopping`` it breaks off, and
    the caller may ask elsewhere for the rest.
    """
    first = asyncio.ensure_future(anext(messages, None))
    await asyncio.wait({first}, timeout=SOON_SECONDS)
    if first.done():
        first.result()
    body = _body(messages, first, doing, stopping, seconds)
    return StreamingResponse(body, 200, {"cache-control": "no-store"}, "text/event-stream")


async def _body(
    messages: AsyncIterator[Message],
    coming: asyncio.Future[Message | None],
    doing: str,
    stopping: asyncio.Event,
    seconds: float | None,
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    end = math.inf if seconds is None else loop.time() + seconds
    stop = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            while not coming.done():
                silence = min(ALIVE_SECONDS, end - loop.time())
                if silence <= 0:
                    yield _END
                    return
                either: set[asyncio.Future[Any]] = {coming, stop}
                await asyncio.wait(either, timeout=silence, return_when=asyncio.FIRST_COMPLETED)
                if stop.done():
                    yield _STOPS
                    return
                if not coming.done() and loop.time() < end:
                    yield b": waiting\n\n"
            message = coming.result()
            if message is None:
                yield _END
                return
            yield message.encode()
            coming = asyncio.ensure_future(anext(messages, None))
    except Exception as error:
        yield Message("error", problem_of(error, doing)).encode()
    finally:
        stop.cancel()
        coming.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await coming


_END: Final = Message("end", {}).encode()
_STOPS: Final = Message(
    "error",
    {"code": NodeStopped.code, "message": "this node stops; ask another one for the rest"},
).encode()
