"""Virtual time and its event loops."""

from __future__ import annotations

import asyncio

import pytest

from raftoral.sim.clock import Events, ProcessLoop


def loop_of(events: Events) -> ProcessLoop:
    """Return a loop whose errors fail the test."""

    def fail(error: BaseException) -> None:
        raise AssertionError(error)

    return ProcessLoop(events, fail)  # type: ignore[abstract]  # as the simulator uses it


def test_time_jumps_to_the_next_event() -> None:
    """Hours pass without waiting, and events of one time keep their order."""
    events = Events()
    seen: list[str] = []
    for name in ("a", "b"):
        events.at(3_600, seen.append, name)
    events.at(1, seen.append, "first")
    events.run(7_200)
    assert (seen, events.now) == (["first", "a", "b"], 7_200)


def test_asyncio_runs_on_virtual_time() -> None:
    """Tasks, sleeps, timeouts and futures work as in any loop."""
    events = Events()
    loop = loop_of(events)
    seen: list[object] = []

    async def work() -> None:
        await asyncio.sleep(5)
        seen.append(loop.time())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 2)
        seen.append(asyncio.get_running_loop() is loop)

    loop.call_soon(loop.create_task, work())
    events.run(10)
    assert seen == [5.0, True]


def test_a_process_stands_still() -> None:
    """What comes to a stopped process waits until it goes on."""
    events = Events()
    loop = loop_of(events)
    seen: list[float] = []
    loop.call_later(1, lambda: seen.append(events.now))
    loop.stand_still()
    events.run(4)
    assert not seen
    loop.go_on()
    events.run(5)
    assert seen == [4.0]


def test_a_slow_call_delays_what_follows() -> None:
    """A call that takes time moves its process's clock and holds up its other work."""
    events = Events()
    loop = loop_of(events)
    seen: list[float] = []
    loop.call_soon(loop.take_time, 3.0)
    events.run(1)
    assert loop.time() == 3.0
    loop.call_soon(lambda: seen.append(events.now))
    events.run(5)
    assert seen == [3.0]


def test_a_dead_process_does_nothing() -> None:
    """Nothing that waited in a process happens after its death."""
    events = Events()
    loop = loop_of(events)
    seen: list[int] = []

    async def work() -> None:
        seen.append(1)
        await asyncio.sleep(1)
        seen.append(2)

    async def never() -> None:
        seen.append(3)

    loop.call_soon(loop.create_task, work())
    events.run(0.5)
    loop.create_task(never())
    loop.die()
    loop.call_soon(seen.append, 4)
    events.run(5)
    assert seen == [1]


def test_what_a_dead_process_was_in_the_middle_of_is_left_to_no_collector() -> None:
    """Its coroutines are closed at once, in the order in which they began, whatever they raise."""
    events = Events()
    loop = loop_of(events)
    seen: list[int] = []

    async def inner(number: int) -> None:
        try:
            await asyncio.sleep(9)
        finally:
            seen.append(number)
            loop.create_task(inner(7))
            raise OSError("the disk is gone")

    async def work(number: int) -> None:
        await inner(number)

    for number in range(3):
        loop.call_soon(loop.create_task, work(number))
    events.run(0.5)
    loop.die()
    assert seen == []
    events.run(0.5)
    assert seen == [0, 1, 2]
