"""`raftoral.testing.run`: one workflow, its mocks, its signals, a clock that jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from raftoral.errors import DefinitionRefused, UsageError, WorkflowFailed
from raftoral.replay.effects import Flow, Log, workflow
from raftoral.replay.wording import describe
from raftoral.testing import InTurn, Request, Signal, Takes, run, rwf
from raftoral.values import Money
from tests.testing import flows

MOCKS = {flows.charge: "p-1", flows.ship: "t-1"}
WORKFLOWS = Path(__file__).parents[2] / "workflows"


def test_a_day_passes_at_once_and_the_result_has_its_type() -> None:
    """Sleeping takes no time, and what comes back is what the workflow declares."""
    began = datetime(2026, 3, 1, 8, tzinfo=UTC)
    tested = run(flows.order, "o-1", mocks=MOCKS, clock=began)
    assert tested.result == flows.Receipt("o-1", Money(Decimal(5), "EUR"))
    assert tested.clock - began == timedelta(hours=24)
    assert tested.status == "completed"
    assert tested.cells == {"status": "shipped"}
    assert tested.log == ["o-1 is shipped"]
    assert tested.calls == (
        ("shop.charge", ("o-1", Decimal(5))),
        ("shop.ship", ("o-1",)),
    )


def test_input_by_name() -> None:
    """Arguments may be named, and are checked as a node checks them."""
    tested = run(flows.order, input={"id": "o", "amount": Decimal(7)}, mocks=MOCKS)
    assert tested.result.amount == Money(Decimal(7), "EUR")
    with pytest.raises(UsageError, match=r"input\.amount"):
        run(flows.order, "o", "much", mocks=MOCKS)
    with pytest.raises(UsageError, match="by position or by name"):
        run(flows.order, "o", input={"id": "o"}, mocks=MOCKS)


def test_a_mock_is_a_value_an_error_a_function_or_takes_time() -> None:
    """Whatever a mock is, retries, timeouts and failures are the engine's own."""
    failing = InTurn(WorkflowFailed("Busy"), TimeoutError("slow"), "p-1")
    assert run(flows.gives_up, mocks={"shop.charge": failing}).result == "Busy"
    tested = run(flows.order, "o", mocks={flows.charge: failing, flows.ship: "t"})
    assert [name for name, _ in tested.calls] == ["shop.charge"] * 3 + ["shop.ship"]
    named = run(flows.order, "o", mocks={flows.charge: "{}-{}".format, flows.ship: "t"})
    assert "-> 'o-5'" in describe(named.events[2])
    slow = run(flows.order, "o", mocks={**MOCKS, flows.ship: Takes("6s", "t")})
    with pytest.raises(WorkflowFailed, match="Timeout"):
        slow.result  # noqa: B018 - looking raises


def test_what_comes_too_late_is_named() -> None:
    """A test that has something for a run that has ended by then is told what it is, and when."""
    said = "the {} that the test has at 2d: run_ended: run run has ended"
    with pytest.raises(UsageError, match=said.format("signal go")):
        run(flows.order, "o", mocks=MOCKS, signals=[Signal("go", after="48h")])
    with pytest.raises(UsageError, match=said.format("update add")):
        run(flows.order, "o", mocks=MOCKS, updates=[Request("add", after="2d")])
    with pytest.raises(UsageError, match=said.format("cancellation")):
        run(flows.order, "o", mocks=MOCKS, cancel_after=timedelta(days=2))


def test_an_activity_that_nobody_mocked_ends_the_test() -> None:
    """No activity runs by accident, even where the workflow would catch its failure."""
    with pytest.raises(UsageError, match=r"shop\.charge, which is not mocked.*real=True"):
        run(flows.gives_up)
    with pytest.raises(UsageError, match=r"shop\.ship"):
        run(flows.order, "o", mocks={flows.charge: "p"})
    assert run(flows.child, 3, real=True).result == 6
    tested = run(flows.order, "o", mocks={flows.charge: "p"}, real=True)
    assert tested.result.id == "o"


def test_a_run_that_waits_says_for_what() -> None:
    """A test that forgets a signal learns its name."""
    tested = run(flows.everything, ["a"], children=[flows.child], real=True)
    assert tested.status == "running"
    with pytest.raises(UsageError, match=r"it waits for: update wanted \(wanted#0\)"):
        tested.result  # noqa: B018


def test_signals_updates_callbacks_and_children() -> None:
    """Everything that a run may wait for is sent at its time."""
    tested = run(
        flows.everything,
        ["a", "b"],
        signals=[Signal("approved", True, after="30m")],
        updates=[Request("wanted", 4, after="2h")],
        callbacks={"review": Takes("3h", "fine")},
        children=[flows.child],
        real=True,
        seed=3,
    )
    found = tested.result
    assert found["approved"] is True
    assert found["wanted"] == 4
    assert (found["each"], found["both"]) == (["A", "B"], ["X", 8])
    assert (found["review"], found["once"]) == ("fine", "ONCE")
    assert tested.clock == datetime(2026, 1, 1, 5, tzinfo=UTC)
    again = run(
        flows.everything,
        ["a", "b"],
        signals={"approved": True},
        updates=[Request("wanted", 4)],
        callbacks={"review": ValueError("no")},
        children=[flows.child],
        real=True,
    )
    with pytest.raises(WorkflowFailed, match="ValueError: no"):
        again.result  # noqa: B018


def test_a_run_is_cancelled_at_its_time() -> None:
    """Cancelling meets the run where it waits then."""
    tested = run(flows.order, "o", mocks=MOCKS, cancel_after="2h")
    assert (tested.status, tested.cells) == ("cancelled", {"status": "paid"})
    assert tested.clock == datetime(2026, 1, 1, 2, tzinfo=UTC)


def test_a_workflow_of_the_language() -> None:
    """A `.rwf` file runs in the same way, its activities mocked by name."""
    hello = rwf(WORKFLOWS / "hello.rwf")
    assert run(hello, "Ann", mocks={"people.greet": "Hi, Ann"}).result == "Hi, Ann"
    with pytest.raises(UsageError, match=r"say which workflow of .* it has hello"):
        rwf(WORKFLOWS / "hello.rwf", "nobody")
    with pytest.raises(UsageError, match="cannot read"):
        rwf("nothing.rwf")


def test_a_file_that_does_not_compile_shows_its_reports(tmp_path: Path) -> None:
    """The compiler's reports come as they are."""
    path = tmp_path / "x.rwf"
    path.write_text("workflow x version 1 () -> int { return y }\n")
    with pytest.raises(UsageError, match=r"does not compile\nerror\[RWF"):
        rwf(path)


def test_the_lint_runs_before_the_test() -> None:
    """A workflow that could not be registered is not tested either; a registry may allow it."""

    @workflow("late", version=1)
    def late() -> Flow[int]:
        yield from Log("x")
        return hash("x")

    with pytest.raises(DefinitionRefused, match="RPY19"):
        run(late)
    assert run(flows.unordered, ["a"], registry=flows.careless, real=True).status == "completed"


def test_a_clock_needs_a_zone() -> None:
    """A time without a zone is another time elsewhere."""
    with pytest.raises(UsageError, match="zone"):
        run(flows.order, "o", clock=datetime(2026, 1, 1))  # noqa: DTZ001
