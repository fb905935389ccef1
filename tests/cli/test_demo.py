"""What the demo measures and checks, on evidence made up for it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from raftoral.cli.demo_checks import Evidence, verify
from raftoral.cli.demo_watch import Takeover, Watch
from raftoral.convert import to_json
from raftoral.ids import Millis
from raftoral.replay.history import Done, Ended, Event, Started, encode
from raftoral.runtime.views import ErrorView, HistoryView, RunView

STARTED = Started("order", 1, "ab", {}, Millis(1), "", 0)
DONE = Done("charge", b"", True, "p-1", 1)
ENDED = Ended("completed", "ok")


def run(run_id: str = "r", owner: int = 1, events: int = 3) -> RunView:
    """Return a run that goes on."""
    return RunView(run_id, "order", 1, "running", 1, owner, owner, events, 1)


def completed(result: str = "ok") -> RunView:
    """Return the run, completed."""
    return replace(run(), status="completed", result=result, ended_at=2)


def history(*events: Event) -> HistoryView:
    """Return a node's copy of the run's history."""
    data = [encode(event) for event in events]
    return HistoryView("r", "order", 1, "ab", 1, data, hashlib.sha256(b"".join(data)).hexdigest())


def evidence(**changes: object) -> Evidence:
    """Return evidence of one run that went well on three nodes, with some of it changed."""
    good = Evidence(
        frozenset({"r"}),
        lambda _run, result: None if result == "ok" else f"the result is {result!r}",
        {node: {"r": completed()} for node in "abc"},
        {"r": to_json("ok")},
        [],
        {node: {"r": history(STARTED, DONE, ENDED)} for node in "abc"},
        Counter({"r/0/charge": 2}),
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def test_what_went_well_holds() -> None:
    """One settlement a step, two attempts of it, equal copies and the right result: all holds."""
    verdict = verify(evidence())
    assert verdict.holds
    assert verdict.settled == 1


@pytest.mark.parametrize(
    ("changes", "lost", "twice", "says"),
    [
        ({"final": {"a": {}}}, 1, 0, "acknowledged as started"),
        ({"final": {"a": {"r": run()}}}, 1, 0, "it is running"),
        (
            {"final": {"a": {"r": replace(run(), status="failed", error=ErrorView("Boom", "x"))}}},
            1,
            0,
            "failed Boom: x",
        ),
        ({"final": {"a": {"r": completed("no")}}}, 1, 0, "a client was shown"),
        (
            {"final": {"a": {"r": completed("no")}}, "acknowledged": {}},
            1,
            0,
            "the result is 'no'",
        ),
        ({"contradictions": ["r"]}, 1, 0, "two clients"),
        (
            {"histories": {"a": {"r": history(STARTED, DONE, DONE, ENDED)}}},
            0,
            1,
            "two settlements of r/charge",
        ),
        ({"attempts": Counter()}, 0, 0, "no attempt"),
        ({"histories": {"a": {}}}, 0, 0, "no history of 1"),
        (
            {
                "histories": {
                    "a": {"r": history(STARTED, DONE, ENDED)},
                    "b": {"r": history(STARTED, DONE)},
                }
            },
            0,
            0,
            "different histories (a: 3, b: 2)",
        ),
        (
            {"histories": {"a": {"r": replace(history(STARTED, DONE), sha256="00")}}},
            0,
            0,
            "digest",
        ),
    ],
)
def test_each_broken_promise_is_found(
    changes: dict[str, object], lost: int, twice: int, says: str
) -> None:
    """Every check fails on evidence that breaks what it checks, and says which run."""
    verdict = verify(evidence(**changes))
    assert not verdict.holds
    assert (len(verdict.lost), len(verdict.twice)) == (lost, twice)
    assert any(says in line and "r" in line for line in verdict.lines())


def test_takeover_is_growth_under_a_new_owner() -> None:
    """The clock ends when a run of the killed owner has a new owner and a new event, not before."""
    takeover = Takeover(1, frozenset({"r"}), killed_at=10.0)
    takeover.see(run("other", owner=2, events=9), 10.1)
    takeover.see(run(events=3), 10.2)
    takeover.see(run(events=4), 10.3)  # settled before the kill, seen after it
    takeover.see(run(owner=2, events=4), 10.9)  # taken over, nothing done yet
    assert takeover.seconds is None
    takeover.see(run(owner=2, events=5), 11.0)
    assert takeover.seconds == pytest.approx(1.0)
    takeover.see(run(owner=2, events=6), 12.0)
    assert takeover.seconds == pytest.approx(1.0)


def test_takeover_counts_nothing_that_it_did_not_see_begin() -> None:
    """A run first seen under its new owner has to grow once more before it counts."""
    takeover = Takeover(1, frozenset({"r"}), killed_at=10.0)
    takeover.see(run(owner=2, events=7), 10.9)
    assert takeover.seconds is None
    takeover.see(run(owner=2, events=8), 11.2)
    assert takeover.seconds == pytest.approx(1.2)


def test_takeover_counts_runs_that_turn_up_after_the_kill() -> None:
    """A run that the killed node owned counts, although it was not seen before the kill."""
    takeover = Takeover(1, frozenset(), killed_at=10.0)
    takeover.see(run(events=2), 10.1)
    takeover.see(run(owner=3, events=3), 10.7)
    assert takeover.seconds == pytest.approx(0.7)


def test_watch_keeps_the_furthest_view_and_the_first_result() -> None:
    """A node that lags behind takes nothing back, and another result for the same run is told."""
    watch = Watch([], 60)
    watch.see(run(owner=2, events=5), 1.0)
    watch.see(run(owner=1, events=4), 1.1)
    assert watch.runs()[0].events == 5
    watch.see(completed("ok"), 1.2)
    watch.see(completed("ok"), 1.3)
    assert not watch.contradictions
    watch.see(completed("no"), 1.4)
    assert watch.contradictions == ["r"]
    assert watch.results() == {"r": to_json("ok")}
