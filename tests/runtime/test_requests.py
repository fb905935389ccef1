"""What users ask of runs, on real nodes in this process: lifecycle, updates, callbacks, children."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from raftoral import (
    Call,
    Callback,
    Cancelled,
    Checkpoint,
    Compute,
    Flow,
    Node,
    Receive,
    Registry,
    Start,
    Update,
    WorkflowFailed,
    activity,
    workflow,
)
from raftoral.errors import (
    CallbackOver,
    RunConflict,
    RunEnded,
    UnknownCallback,
    UnknownRun,
    UpdateRefused,
    UsageError,
)
from raftoral.replay.history import decode
from tests.bench.processes import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from raftoral.runtime.views import Policy

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]

TOKENS: list[str] = []
FAILURES: list[str] = []
UNDONE: list[str] = []


@activity("requests.double")
async def double(number: int) -> int:
    """Return twice the number."""
    return 2 * number


@activity("requests.hand_out")
async def hand_out(token: str) -> None:
    """Give the token to the world."""
    TOKENS.append(token)


@activity("requests.flaky")
async def flaky() -> str:
    """Fail as often as `FAILURES` says."""
    if FAILURES:
        raise WorkflowFailed(FAILURES.pop(0), "for now")
    return "done"


@activity("requests.undo")
async def undo(what: str) -> None:
    """Note what was taken back."""
    UNDONE.append(what)


@activity("requests.endless")
async def endless() -> None:
    """Take longer than any test."""
    await asyncio.sleep(600)


def add(number: int) -> int:
    """Answer an update with the tenfold, refuse what is negative."""
    if number < 0:
        raise WorkflowFailed("Negative", "no debts here", {"number": number})
    return 10 * number


@workflow("child", version=1)
def child(number: int) -> Flow[int]:
    """Double."""
    return (yield from Compute("twice", double, number))


@workflow("parent", version=1)
def parent(number: int) -> Flow[list[object]]:
    """Call a child by function and by name, and start one beside."""
    first = yield from Call("first", child, number)
    second = yield from Call("second", "child", first)
    beside = yield from Start("beside", child, 5)
    return [first, second, beside]


@workflow("waits", version=1, search=("state",))
def waits() -> Flow[int]:
    """Wait for a number, and take back what was done if it is cancelled."""
    state = yield from Checkpoint("state", "waiting")
    try:
        number = yield from Receive("number", int)
    except Cancelled:
        yield from Compute("undo", undo, "waits")
        raise
    yield from state.set("got")
    return number


@workflow("works", version=1)
def works() -> Flow[None]:
    """Be busy."""
    yield from Compute("work", endless)


@workflow("updated", version=1)
def updated() -> Flow[int]:
    """Take two requests."""
    first = yield from Update("add", int, add)
    second = yield from Update("add", int, add)
    return first + second


@workflow("called_back", version=1)
def called_back() -> Flow[int]:
    """Wait for whoever has the token."""
    pending = yield from Callback("paid", int)
    yield from Compute("hand-out", hand_out, pending.token)
    return (yield from pending.wait())


@workflow("flaky", version=1)
def fails() -> Flow[str]:
    """Do a step that may fail."""
    yield from Checkpoint("before", 1)
    return (yield from Compute("step", flaky))


REGISTRY = Registry(
    workflows=[child, parent, waits, works, updated, called_back, fails],
    activities=[double, hand_out, flaky, undo, endless],
)


@asynccontextmanager
async def cluster(size: int = 1, groups: int = 3) -> AsyncIterator[list[Node]]:
    """Start nodes that keep everything in memory."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(size)]
    nodes: list[Node] = []
    try:
        for number, address in enumerate(addresses):
            joining = {"join": addresses[:1]} if number else {"groups": groups}
            nodes.append(await Node(REGISTRY, listen=address, **joining).start())  # type: ignore[arg-type]
        yield nodes
    finally:
        for node in reversed(nodes):
            await node.stop()


async def events(node: Node, run_id: str) -> list[str]:
    """Return the kinds of the events of a run."""
    return [type(decode(each)).__name__ for each in (await node.history(run_id)).events]


def test_children_of_a_run_are_runs_of_any_group() -> None:
    """A parent gets the results of its children; each is a run of its own, with its parent's name."""

    async def main() -> None:
        async with cluster() as (node,):
            for number in range(8):
                result = await node.run(parent, number, id=f"p{number}", timeout=20)
                assert result == [2 * number, 4 * number, f"p{number}/0/beside"]
                assert await node.run("child", number=5, id=f"c{number}") == 10
            view = await node.wait("p3/0/second", 5)
            assert (view.parent, view.result) == ("p3", 12)
            assert (await node.wait("p3/0/beside", 5)).result == 10
            assert len(await node.list(name="child")) == 32
            assert {each.group for each in await node.list()} == {1, 2, 3}

    asyncio.run(main())


def test_a_cancelled_run_cleans_up_and_a_terminated_one_does_not() -> None:
    """Cancelling meets the code, terminating does not; the reason is told; again changes nothing."""

    async def main() -> None:
        UNDONE.clear()
        async with cluster() as (node,):
            run = await node.start_run(waits, id="w")
            for _ in range(2):
                await run.cancel(reason="changed my mind")
            with pytest.raises(WorkflowFailed, match="Cancelled: changed my mind"):
                await run.result(10)
            assert UNDONE == ["waits"]
            busy = await node.start_run(works, id="b")
            await busy.cancel(reason="enough")
            assert (await node.wait("b", 10)).status == "cancelled"
            killed = await node.start_run(waits, id="k")
            for _ in range(2):
                await killed.terminate(reason="at once")
            with pytest.raises(WorkflowFailed, match="Terminated: at once"):
                await killed.result(10)
            assert UNDONE == ["waits"]
            assert (await events(node, "w")).count("CancelAsked") == 1
            with pytest.raises(RunEnded, match="has ended: it is terminated"):
                await killed.cancel()
            with pytest.raises(UnknownRun):
                await node.cancel("nobody")

    asyncio.run(main())


def test_a_paused_run_goes_on_where_it_was() -> None:
    """While it is paused nothing begins; who watches sees each change and its reason."""

    async def main() -> None:
        async with cluster() as (node,):
            run = await node.start_run(waits, id="w")
            await run.pause(reason="lunch")
            await run.pause(reason="again")
            await run.signal("number", 7, id="s1")
            await run.signal("number", 7, id="s1")
            seen = [(v.status, v.reason) async for v in _until_resumed(node, "w")]
            assert (seen[0], seen[-1]) == (("paused", "lunch"), ("completed", ""))
            assert await run.result() == 7
            assert await events(node, "w") == [
                "Started", "Set", "Paused", "Resumed", "Taken", "Set", "Ended"
            ]  # fmt: skip

    asyncio.run(main())


def test_the_same_request_pauses_a_run_once() -> None:
    """A pause that is asked again behind the resuming, with its id, changes nothing."""

    async def main() -> None:
        async with cluster() as (node,):
            run = await node.start_run(waits, id="w")
            await run.pause(request="q1")
            await run.resume(request="q2")
            await run.pause(request="q1")
            assert (await run.status()).status == "running"
            await run.signal("number", 7)
            assert await run.result() == 7

    asyncio.run(main())


async def _until_resumed(node: Node, run_id: str) -> AsyncIterator[object]:
    async for view in node.watch(run_id):
        yield view
        if view.status == "paused":
            await node.resume(run_id)


def test_an_update_is_answered_refused_and_asked_for_again() -> None:
    """The same id is one request with one answer, from any node, also after the run has ended."""

    async def main() -> None:
        async with cluster(4) as nodes:
            member, other = nodes[0], nodes[3]
            run = await other.start_run(updated, id="u")
            with pytest.raises(UpdateRefused, match="Negative: no debts here") as caught:
                await other.update("u", "add", -3, id="minus")
            assert caught.value.details == {"number": -3}
            asked = [other.update("u", "add", 2, id="one"), member.update("u", "add", 2, id="one")]
            assert await asyncio.gather(*asked) == [20, 20]
            with pytest.raises(TimeoutError, match="ask again with the same id"):
                await other.update("u", "nothing", id="late", timeout=0.2)
            assert await member.update("u", "add", 5) == 50
            assert await run.result(10) == 7
            assert await other.update("u", "add", 2, id="one") == 20
            with pytest.raises(UpdateRefused, match="Negative"):
                await member.update("u", "add", -3, id="minus")
            for node in (member, other):
                with pytest.raises(RunEnded, match="without answering"):
                    await node.update("u", "nothing", id="late")
                with pytest.raises(RunEnded):
                    await node.update("u", "add", 1)

    asyncio.run(main())


def test_who_waits_for_an_answer_learns_that_the_run_ended() -> None:
    """An update that the run never takes ends with the run."""

    async def main() -> None:
        async with cluster() as (node,):
            await node.start_run(waits, id="w")
            asked = asyncio.create_task(node.update("w", "add", 1))
            await asyncio.sleep(0.1)
            await node.signal("w", "number", 1)
            with pytest.raises(RunEnded, match="without answering"):
                await asyncio.wait_for(asked, 10)

    asyncio.run(main())


def test_a_callback_is_completed_once() -> None:
    """The same completion again is fine, another one is refused; so is a token of nobody."""

    async def main() -> None:
        TOKENS.clear()
        async with cluster() as (node,):
            await node.start_run(called_back, id="c")
            await node.start_run(called_back, id="d")
            while len(TOKENS) < 2:  # noqa: ASYNC110  # an activity has no event
                await asyncio.sleep(0.01)
            by_run = {("c" if "c" in _run_of(token) else "d"): token for token in TOKENS}
            await node.beat_callback(by_run["c"])
            for _ in range(2):
                await node.complete_callback(by_run["c"], 7)
            assert (await node.wait("c", 10)).result == 7
            with pytest.raises(CallbackOver):
                await node.complete_callback(by_run["c"], 8)
            with pytest.raises(CallbackOver):
                await node.beat_callback(by_run["c"])
            await node.fail_callback(by_run["d"], WorkflowFailed("Declined", "no money"))
            view = await node.wait("d", 10)
            assert view.error is not None
            assert (view.status, view.error.name, view.error.message) == (
                "failed", "Declined", "no money",
            )  # fmt: skip
            for token in ("", "nonsense", by_run["c"][:-1], by_run["c"].upper()):
                with pytest.raises(UnknownCallback):
                    await node.complete_callback(token, 1)

    asyncio.run(main())


def _run_of(token: str) -> str:
    from raftoral.machines.callbacks import token_of

    return token_of(token).run_id


def test_a_failed_run_is_retried_from_what_it_failed_by() -> None:
    """Settled steps stay; the same retry again is one; what completed cannot be retried."""

    async def main() -> None:
        async with cluster() as (node,):
            FAILURES[:] = ["First", "Second"]
            run = await node.start_run(fails, id="f")
            with pytest.raises(WorkflowFailed, match="First"):
                await run.result(10)
            assert await node.retry("f", generation=0) == 1
            assert await node.retry("f", generation=0) == 1
            with pytest.raises(WorkflowFailed, match="Second"):
                await run.result(10)
            assert await run.retry() == 2
            assert await run.result(10) == "done"
            assert await events(node, "f") == ["Started", "Set", "Done", "Ended"]
            with pytest.raises(RunConflict, match="only a run that failed"):
                await run.retry()

    asyncio.run(main())


def test_a_fork_goes_on_from_the_steps_that_it_was_given() -> None:
    """A fork has the first steps of its source and goes its own way; the same fork again joins."""

    async def main() -> None:
        async with cluster() as (node,):
            await node.start_run(waits, id="w")
            await node.signal("w", "number", 1)
            assert (await node.wait("w", 10)).result == 1
            for _ in range(2):
                fork = await node.fork("w", 2, new_id="v")
            for position in (0, -1):
                with pytest.raises(UsageError, match="takes over 1 event of the run or more"):
                    await node.fork("w", position)
            for generation in (-1, 2**80):
                with pytest.raises(UsageError, match="generations are counted from 0"):
                    await node.retry("w", generation=generation)
            await fork.signal("number", 2)
            assert await fork.result(10) == 2
            assert (await node.show("v")).generation == 1
            assert (await node.history("v")).events[1:2] == (await node.history("w")).events[1:2]
            made = await node.fork("w", 1)
            assert made.id.startswith("w-fork-")
            with pytest.raises(UsageError, match="has 5 events, not 6"):
                await node.fork("w", 6)
            with pytest.raises(RunConflict, match="fork under another id"):
                await node.fork("w", 1, new_id="v")
            with pytest.raises(UsageError, match="not its end"):
                await node.fork("w", 5, new_id="x")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("policy", "running", "completed", "failed"),
    [
        ("join", "joins", "joins", "joins"),
        ("reject", RunConflict, RunConflict, RunConflict),
        ("retry_failed", "joins", "joins", "begins"),
    ],
)
def test_what_a_start_does_if_the_id_is_taken(
    policy: Policy, running: object, completed: object, failed: object
) -> None:
    """Each policy joins, refuses or begins anew, by what became of the run."""

    async def main() -> None:
        FAILURES[:] = ["First"]
        async with cluster() as (node,):
            await node.start_run(waits, id="running")
            await node.run(child, 1, id="completed")
            await node.start_run(fails, id="failed")
            assert (await node.wait("failed", 10)).status == "failed"

            async def again(run_id: str) -> object:
                given = {"number": 1} if run_id == "completed" else {}
                name = {"running": waits, "completed": child, "failed": fails}[run_id]
                try:
                    await node.start_run(name, given, id=run_id, policy=policy)
                except RunConflict as error:
                    return type(error)
                return "begins" if (await node.show(run_id)).generation else "joins"

            assert await again("running") == running
            assert await again("completed") == completed
            assert await again("failed") == failed
            assert (await node.wait("failed", 10)).status == (
                "completed" if failed == "begins" else "failed"
            )
            made = await node.start_run(waits, policy=policy, id="new", request="q")
            same = await node.start_run(waits, policy=policy, id="new", request="q")
            assert made.id == same.id

    asyncio.run(main())


def test_runs_are_listed_by_what_they_are() -> None:
    """Status, name, version, time and attributes select, over all groups, page by page, anywhere."""

    async def main() -> None:
        async with cluster(4) as nodes:
            node, other = nodes[0], nodes[3]
            for number in range(12):
                await node.start_run(waits, id=f"w{number}")
            for number in range(0, 12, 2):
                await node.signal(f"w{number}", "number", number)
                await node.wait(f"w{number}", 10)
            await node.run(child, 1, id="c")
            await asyncio.sleep(0.2)  # lists show what the members have applied

            async def ids(**wanted: object) -> list[str]:
                found = [view.id for view in await node.list(**wanted)]  # type: ignore[arg-type]
                assert found == [view.id for view in await other.list(**wanted)]  # type: ignore[arg-type]
                return found

            got = [f"w{number}" for number in range(10, -1, -2)]
            assert await ids(attributes={"state": "got"}) == got
            assert await ids(attributes={"state": "got"}, limit=2) == got[:2]
            assert await ids(attributes={"state": "got"}, limit=2, after=got[1]) == got[2:4]
            assert await ids(status="running", name="waits") == [f"w{n}" for n in range(11, 0, -2)]
            assert await ids(attributes={"state": 1}) == []
            assert await ids(attributes={"other": "got"}) == []
            assert await ids(name="child", version=1) == ["c"]
            assert await ids(version=2) == []
            middle = (await node.show("w6")).started_at
            at = datetime.fromtimestamp(middle / 1000, UTC)
            later = {view.id for view in await node.list() if view.started_at >= middle}
            assert set(await ids(started_after=at)) == later
            assert set(await ids(started_before=at)) == {
                view.id for view in await node.list() if view.id not in later
            }
            assert await ids(started_before=at - timedelta(hours=1)) == []
            assert (await other.show("w2")).attributes == {"state": "got"}
            with pytest.raises(UsageError, match="has no zone"):
                await node.list(started_after=datetime(2026, 1, 1))  # noqa: DTZ001

    asyncio.run(main())


def test_one_id_started_at_once_from_three_nodes_a_thousand_times_is_one_run_each() -> None:
    """Whoever starts an id first, all three get the same run, and its step is settled once."""
    began: list[str] = []

    @activity("requests.note")
    async def note(run_id: str) -> int:
        began.append(run_id)
        return len(run_id)

    @workflow("noted", version=1)
    def noted(run_id: str) -> Flow[int]:
        return (yield from Compute("note", note, run_id))

    async def main() -> None:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        registries = [Registry(workflows=[noted], activities=[note]) for _ in range(3)]
        first = await Node(registries[0], listen=addresses[0], groups=2).start()
        nodes = [first]
        for address, registry in zip(addresses[1:], registries[1:], strict=True):
            nodes.append(await Node(registry, listen=address, join=addresses[:1]).start())
        at_once = asyncio.Semaphore(40)

        async def everywhere(number: int) -> None:
            async with at_once:
                run_id = f"r{number}"
                order = nodes[number % 3 :] + nodes[: number % 3]
                runs = await asyncio.gather(
                    *(node.start_run(noted, {"run_id": run_id}, id=run_id) for node in order)
                )
                results = await asyncio.gather(*(run.result(60) for run in runs))
                assert results == [len(run_id)] * 3

        try:
            await asyncio.gather(*map(everywhere, range(1_000)))
            # A node that a busy machine starves is taken over from, and what it was at is tried again.
            assert set(began) == {f"r{number}" for number in range(1_000)}
            found, after = [], None
            while page := await first.list(limit=1_000, after=after):
                found += page
                after = page[-1].id
            assert len(found) == 1_000
            assert all((view.generation, view.events) == (0, 3) for view in found)
        finally:
            for node in reversed(nodes):
                await node.stop()

    asyncio.run(main())
