"""Attempts of activities: how they get into the application and back."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from raftoral.ids import Epoch, RunId
from raftoral.registry.app import Registry
from raftoral.replay.context import ActivityContext
from raftoral.replay.effects import Compute, activity
from raftoral.runtime.attempts import Attempts, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.runtime.attempts import Attempt


@activity("echo")
async def echo(number: int) -> int:
    """Return at once, on the application's loop."""
    return number


@activity("echo.thread")
def echo_in_thread(number: int) -> int:
    """Return at once, in a thread."""
    return number


class Ended:
    """Collects what `Attempts` tell."""

    def __init__(self) -> None:
        self.batches: list[list[Outcome | None]] = []
        self.by_token: dict[Any, Outcome | None] = {}

    def told(self, ended: Sequence[tuple[Attempt, Outcome | None]]) -> None:
        """Take one batch."""
        self.batches.append([outcome for _, outcome in ended])
        self.by_token.update({attempt.token: outcome for attempt, outcome in ended})

    async def count(self, number: int) -> None:
        """Wait until so many attempts have ended."""
        async with asyncio.timeout(10):
            while len(self.by_token) < number:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)


def context(number: int) -> ActivityContext:
    """Return the context of an attempt."""
    return ActivityContext(RunId("r"), 0, f"x{number}", 1, Epoch(1))


def test_what_crosses_in_one_turn_wakes_the_other_loop_once() -> None:
    """A hundred attempts begun in one turn cost few wake-ups, however many results come back."""
    application = asyncio.new_event_loop()
    thread = threading.Thread(target=application.run_forever)
    thread.start()
    wakes: list[object] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        attempts = Attempts(Registry(), application, 2)
        ended = Ended()
        real = application.call_soon_threadsafe

        def counted(callback: Any, *args: Any) -> Any:
            wakes.append(callback)
            return real(callback, *args)

        with patch.object(application, "call_soon_threadsafe", counted):
            gate = threading.Event()
            loop.call_soon(gate.set)
            real(gate.wait)  # The application is busy until all have been handed over.
            for number in range(100):
                attempts.start(Compute("x", echo, number), context(number), ended.told, number)
            await ended.count(100)
        assert len(wakes) == 1
        assert len(ended.batches) < 20
        assert ended.by_token == {n: Outcome(True, n) for n in range(100)}
        attempts.close()

    try:
        asyncio.run(story())
    finally:
        application.call_soon_threadsafe(application.stop)
        thread.join()
        application.close()


def test_an_application_that_has_stopped_ends_attempts_without_an_outcome() -> None:
    """A closed loop runs nothing: the attempt neither succeeds nor fails, and threads go on."""
    application = asyncio.new_event_loop()
    application.close()

    async def story() -> None:
        attempts = Attempts(Registry(), application, 2)
        ended = Ended()
        for number in range(3):
            attempts.start(Compute("x", echo, number), context(number), ended.told, number)
        attempts.start(Compute("x", echo_in_thread, 7), context(7), ended.told, 7)
        await ended.count(4)
        assert ended.by_token == {0: None, 1: None, 2: None, 7: Outcome(True, 7)}
        attempts.close()

    asyncio.run(story())


def test_an_attempt_that_waits_for_a_thread_never_begins_once_it_is_given_up() -> None:
    """A run that ended, or has another owner, begins nothing more from the queue for threads."""
    gate, begun = threading.Event(), []

    @activity("hold")
    def hold(number: int) -> int:
        begun.append(number)
        gate.wait(10)
        return number

    async def story() -> None:
        attempts = Attempts(Registry(), asyncio.get_running_loop(), 1)
        ended = Ended()
        made = [
            attempts.start(Compute("x", hold, number), context(number), ended.told, number)
            for number in range(3)
        ]
        made[1].cancel()
        gate.set()
        await ended.count(2)
        assert begun == [0, 2]
        attempts.close()

    asyncio.run(story())


def test_an_attempt_that_is_cancelled_is_never_told_of() -> None:
    """Before it began, while it runs, or in the turn in which it ends: `done` hears nothing."""
    begun: list[int] = []

    @activity("wait")
    async def wait(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0.01 if number else 30)
        return number

    async def story() -> None:
        attempts = Attempts(Registry(), asyncio.get_running_loop(), 2)
        ended = Ended()
        first = attempts.start(Compute("x", wait, 0), context(0), ended.told, 0)
        first.cancel()
        await asyncio.sleep(0.01)
        assert begun == []
        running = attempts.start(Compute("x", wait, 0), context(0), ended.told, 0)
        await asyncio.sleep(0.01)
        assert begun == [0]
        running.cancel()
        ending = attempts.start(Compute("x", echo_in_thread, 1), context(1), ended.told, 1)
        assert ending.thread is not None
        ending.thread.result(5)
        ending.cancel()
        attempts.start(Compute("x", wait, 2), context(2), ended.told, 2)
        await ended.count(1)
        await asyncio.sleep(0.02)
        assert ended.by_token == {2: Outcome(True, 2)}
        assert running.task is not None
        assert running.task.cancelled()
        attempts.close()

    asyncio.run(story())
