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
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import StreamingResponse

from raftoral.api.failures import problem_of
from raftoral.convert import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALIVE_SECONDS: Final = 15.0
"""How long a stream says nothing at most."""


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
    messages: AsyncIterator[Message], doing: str, seconds: float | None = None
) -> StreamingResponse:
    """Return the answer that sends ``messages``; errors before the first of them are raised.

    After ``seconds`` it ends, whatever may still come.
    """
    first = await anext(messages, None)

    async def body() -> AsyncIterator[bytes]:
        if first is not None:
            yield first.encode()
        try:
            async for message in _alive(messages, seconds):
                yield b": waiting\n\n" if message is None else message.encode()
        except Exception as error:
            yield Message("error", problem_of(error, doing)).encode()
            return
        yield Message("end", {}).encode()

    headers = {"cache-control": "no-store"}
    return StreamingResponse(body(), 200, headers, "text/event-stream")


async def _alive(
    messages: AsyncIterator[Message], seconds: float | None
) -> AsyncIterator[Message | None]:
    """Yield the messages as they come, and None after each silence."""
    loop = asyncio.get_running_loop()
    end = math.inf if seconds is None else loop.time() + seconds
    while True:
        coming = asyncio.ensure_future(anext(messages, None))
        try:
            while not coming.done():
                silence = min(ALIVE_SECONDS, end - loop.time())
                if silence <= 0:
                    return
                await asyncio.wait({coming}, timeout=silence)
                if not coming.done() and loop.time() < end:
                    yield None
        finally:
            if not coming.done():  # The time is up, or the caller went away.
                coming.cancel()
                with suppress(asyncio.CancelledError):
                    await coming
        message = coming.result()
        if message is None:
            return
        yield message
