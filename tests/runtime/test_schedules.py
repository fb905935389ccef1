"""Schedules on real nodes in this process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from raftoral import Checkpoint, Flow, Node, Receive, Registry, workflow
from raftoral.errors import (
    InvalidInput,
    LimitExceeded,
    UnknownDefinition,
    UnknownSchedule,
    UsageError,
)
from tests.bench.processes import free_port

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]

NINE = datetime(2020, 11, 25, 9, tzinfo=UTC)


@workflow("reported", version=1)
def reported(day: int) -> Flow[int]:
    """Report a day."""
    yield from Checkpoint("day", day)
    return day


@workflow("waited", version=1)
def waited() -> Flow[None]:
    """Go on until somebody says so."""
    yield from Receive("go")


def test_a_schedule_starts_runs_until_it_is_paused_and_whenever_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It fires by the clock, starts runs of past times and of now on demand, and is shown anywhere."""

    async def main() -> None:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(4)]
        registry = Registry(workflows=[reported, waited])
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    Node(
                        registry,
                        listen=each,
                        **({"join": addresses[:1]} if number else {"groups": 3}),  # type: ignore[arg-type]
                    )
                )
                for number, each in enumerate(addresses)
            ]
            first, fourth = nodes[0], nodes[3]
            view = await fourth.put_schedule("tick", reported, {"day": 3}, when="every 1s")
            assert (view.spec.version, view.spec.input) == (1, {"day": 3})
            same = await first.put_schedule("tick", reported, {"day": 3}, when="every 1s")
            assert same.revision == view.revision, "the same again changes nothing"
            async with asyncio.timeout(20):
                while (await fourth.schedule("tick")).fired < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await fourth.pause_schedule("tick", reason="enough")
            paused = await first.schedule("tick")
            assert (paused.paused, paused.reason, paused.next_at) == (True, "enough", 0)
            assert await fourth.schedules() == [paused]
            runs = await first.list(name="reported")
            assert len(runs) == paused.fired
            assert all(run.id.startswith("tick@20") and run.parent == "tick" for run in runs)

            filled = await fourth.backfill_schedule("tick", NINE, NINE + timedelta(seconds=4))
            assert filled == [f"tick@2020-11-25T09:00:0{second}Z" for second in range(5)]
            assert await first.backfill_schedule("tick", NINE, NINE) == filled[:1]
            assert (await first.wait(filled[4], 10)).result == 3
            now = await fourth.trigger_schedule("tick")
            assert (await fourth.wait(now, 10)).result == 3
            moment = NINE + timedelta(milliseconds=250)
            for node in (first, fourth):
                assert await node.trigger_schedule("tick", at=moment) == (
                    "tick@2020-11-25T09:00:00.250Z"
                )
            async with asyncio.timeout(10):
                while len(await first.list(name="reported")) < paused.fired + 7:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await fourth.resume_schedule("tick")
            assert (await first.schedule("tick")).next_at > paused.last_at
            await fourth.drop_schedule("tick")
            await first.drop_schedule("tick")
            assert await first.schedules() == []
            with pytest.raises(UnknownSchedule):
                await fourth.schedule("tick")

    asyncio.run(main())


def test_what_cannot_be_a_schedule_is_refused_when_it_is_stored() -> None:
    """Unknown workflows, inputs that do not fit, bad times and zones, and too many runs are told."""

    async def main() -> None:
        registry = Registry(workflows=[reported])
        async with Node(registry, listen=f"127.0.0.1:{free_port()}") as node:
            with pytest.raises(UnknownDefinition):
                await node.put_schedule("s", "nothing", when="@daily")
            with pytest.raises(InvalidInput, match=r"input\.day"):
                await node.put_schedule("s", reported, {"day": "x"}, when="@daily")
            with pytest.raises(InvalidInput, match="does not fit"):
                await node.put_schedule("s", reported, when="@daily")
            with pytest.raises(UsageError, match="no time of a schedule"):
                await node.put_schedule("s", reported, [1], when="sometimes")
            with pytest.raises(UsageError, match="no time zone is called"):
                await node.put_schedule("s", reported, [1], when="@daily", zone="Mars/Olympus")
            with pytest.raises(UsageError, match="cannot be a run id"):
                await node.put_schedule("a/b", reported, [1], when="@daily")
            with pytest.raises(UsageError, match="has no zone"):
                await node.put_schedule(
                    "s",
                    reported,
                    [1],
                    when="@daily",
                    start=datetime(2026, 1, 1),  # noqa: DTZ001
                )
            assert await node.schedules() == []
            view = await node.put_schedule("s", reported, [1], when="every 1s", catch_up="1h")
            assert view.spec.catch_up_ms == 3_600_000
            with pytest.raises(LimitExceeded, match="backfill in parts"):
                await node.backfill_schedule("s", NINE, NINE + timedelta(hours=1))
            with pytest.raises(UnknownSchedule):
                await node.pause_schedule("nobody")

    asyncio.run(main())


def test_a_schedule_waits_for_its_run_and_its_end_is_told_to_it() -> None:
    """The next run begins when the one before has ended, in whatever group that is."""

    async def main() -> None:
        registry = Registry(workflows=[waited])
        async with Node(registry, listen=f"127.0.0.1:{free_port()}", groups=3) as node:
            await node.put_schedule("w", waited, when="every 1s", overlap="buffer_one")
            async with asyncio.timeout(20):
                while not (await node.schedule("w")).waiting_at:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                before = await node.schedule("w")
                await node.signal(before.current, "go")
                while (await node.schedule("w")).current == before.current:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            after = await node.schedule("w")
            assert after.fired == 2
            assert after.current.removeprefix("w@") > before.current.removeprefix("w@")

    asyncio.run(main())
