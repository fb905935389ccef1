"""Steps that compute too long, in the thread that runs them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from raftoral.runtime.watchdog import StepTooLong, Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """Return a watchdog over this thread with a limit of 50 ms."""
    made = Watchdog(0.05)
    made.start()
    yield made
    made.stop()


def spin(seconds: float) -> None:
    """Compute for a while, in Python."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_a_short_step_is_left_alone(watchdog: Watchdog) -> None:
    """Steps within the limit are not touched, however many there are."""
    for _ in range(40):
        with watchdog:
            spin(0.005)


def test_a_long_step_is_left(watchdog: Watchdog) -> None:
    """A step beyond the limit is left by `StepTooLong`, and the next one runs as ever."""
    for _ in range(5):
        with pytest.raises(StepTooLong), watchdog:
            spin(10)
        with watchdog:
            spin(0.005)


def test_a_step_is_left_soon_after_its_limit() -> None:
    """A step is left after its limit, not before it, and not never."""
    made = Watchdog(0.4)
    made.start()
    began = time.monotonic()
    with pytest.raises(StepTooLong), made:
        spin(10)
    took = time.monotonic() - began
    made.stop()
    assert 0.4 <= took < 8


def test_no_handler_of_a_workflow_swallows_it(watchdog: Watchdog) -> None:
    """`except Exception` does not catch it; what a handler computes too long is left as well."""

    def step() -> None:
        try:
            try:
                spin(10)
            except Exception:
                pytest.fail("it was swallowed")
        finally:
            spin(10)

    began = time.monotonic()
    with pytest.raises(StepTooLong), watchdog:
        step()
    assert time.monotonic() - began < 5


def test_each_item_has_the_limit_for_itself(watchdog: Watchdog) -> None:
    """Within one step, many items may take longer together, and none alone."""
    with watchdog:
        for _ in watchdog.each(range(12)):
            spin(0.015)
    with pytest.raises(StepTooLong), watchdog:
        list(map(spin, watchdog.each([0, 10, 0])))


def test_a_step_that_ends_as_it_is_stopped_leaves_nothing_behind(watchdog: Watchdog) -> None:
    """Steps about as long as the limit either end or are left; nothing is raised afterwards."""
    for _ in range(40):
        try:
            with watchdog:
                spin(0.05)
        except StepTooLong:
            pass
        spin(0.002)
