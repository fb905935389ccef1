"""Steps that compute too long, in the thread that runs them."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from raftoral.runtime.watchdog import CHECKS_PER_LIMIT, StepTooLong, Watchdog
from tests.runtime.cluster import ByHand

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def by_hand() -> Iterator[ByHand]:
    """Return a watchdog over this thread that looks when it is told to."""
    made = ByHand()
    made.start()
    yield made
    made.stop()


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


def seen(watchdog: Watchdog, looks: int) -> None:
    """Compute until it was seen so often."""
    for _ in range(looks):
        watchdog.look()


# ------------------------------------------------------------------ by looks
def test_a_step_is_stopped_by_one_look_too_many(by_hand: ByHand) -> None:
    """A step may be seen as often as a limit has looks; the next look ends it, and nothing else."""
    for _ in range(3):
        with by_hand:
            seen(by_hand, CHECKS_PER_LIMIT)
        seen(by_hand, 2 * CHECKS_PER_LIMIT)  # between steps nothing is counted
        with pytest.raises(StepTooLong), by_hand:
            seen(by_hand, CHECKS_PER_LIMIT + 1)


def test_each_item_has_the_limit_for_itself(by_hand: ByHand) -> None:
    """Within one step, many items may be seen more often together, and none alone."""
    with by_hand:
        for _ in by_hand.each(range(12)):
            seen(by_hand, CHECKS_PER_LIMIT)
    with pytest.raises(StepTooLong), by_hand:
        list(map(partial(seen, by_hand), by_hand.each([0, CHECKS_PER_LIMIT + 1, 0])))


def test_handlers_of_a_stopped_step_are_seen_anew(by_hand: ByHand) -> None:
    """What a step's own handlers compute is limited as well: each has the looks of a step."""
    stopped = 0

    def step() -> None:
        nonlocal stopped
        try:
            while True:
                by_hand.look()
        finally:
            stopped += 1
            while True:
                by_hand.look()

    with pytest.raises(StepTooLong), by_hand:
        step()
    assert stopped == 1


# ------------------------------------------------------------------ by the clock
def test_a_long_step_is_left(watchdog: Watchdog) -> None:
    """A step beyond the limit is left by `StepTooLong`, and the next one runs as ever."""
    for _ in range(5):
        with pytest.raises(StepTooLong), watchdog:
            spin(10)
        with watchdog:
            pass


def test_a_step_is_not_left_before_its_limit() -> None:
    """However it is scheduled, a step has the limit for itself."""
    made = Watchdog(0.4)
    made.start()
    began = time.monotonic()
    with pytest.raises(StepTooLong), made:
        spin(60)
    took = time.monotonic() - began
    made.stop()
    assert took >= 0.4


def test_no_handler_of_a_workflow_swallows_it(watchdog: Watchdog) -> None:
    """`except Exception` does not catch it; what a handler computes too long is left as well."""

    def step() -> None:
        try:
            try:
                spin(60)
            except Exception:
                pytest.fail("it was swallowed")
        finally:
            spin(60)

    with pytest.raises(StepTooLong), watchdog:
        step()


def test_a_step_that_ends_as_it_is_stopped_leaves_nothing_behind(watchdog: Watchdog) -> None:
    """Steps about as long as the limit either end or are left; nothing is raised afterwards."""
    for _ in range(40):
        try:
            with watchdog:
                spin(0.05)
        except StepTooLong:
            pass
        spin(0.002)
