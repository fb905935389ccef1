"""The commands about runs and schedules against a node that keeps what it is asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from raftoral import errors
from raftoral.cli import main, render
from tests.api.fakes import FakeNode
from tests.cli.test_commands import Served, _quiet, raftoral, served

__all__ = ["_quiet", "served"]

NINE = datetime(2026, 11, 25, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("args", "call", "says"),
    [
        (
            ["cancel", "p/0/a", "--reason", "late"],
            ("cancel", ("p/0/a",), {"reason": "late"}),
            "run p/0/a is asked to stop",
        ),
        (["terminate", "r"], ("terminate", ("r",), {"reason": ""}), "run r has ended"),
        (["pause", "r"], ("pause", ("r",), {"reason": ""}), "raftoral resume r"),
        (["resume", "r"], ("resume", ("r",), {}), "run r goes on"),
        (
            ["query", "r", "progress", "--consistent"],
            ("query", ("r", "progress"), {"consistent": True}),
            '"done": 3',
        ),
        (
            ["complete", "tok", "--payload", "[1]"],
            ("complete_callback", ("tok", [1]), {}),
            "the step is completed",
        ),
        (["beat", "tok"], ("beat_callback", ("tok",), {}), "the step waits on"),
        (
            ["schedules", "put", "nightly", "report", "--when", "0 3 * * *", "-i", '{"day": 1}',
             "--zone", "Europe/Berlin", "--start", "2026-11-25T09:00Z", "--catch-up", "1h"],
            (
                "put_schedule",
                ("nightly", "report", {"day": 1}),
                {
                    "when": "0 3 * * *",
                    "zone": "Europe/Berlin",
                    "version": None,
                    "overlap": "skip",
                    "start": NINE,
                    "end": None,
                    "catch_up": "1h",
                },
            ),
            "schedule nightly fires next at 1970-01-01 00:00:09Z",
        ),
        (["schedules"], ("schedules", (), {}), "nightly  report    0 3 * * *  UTC"),
        (["schedules", "show", "nightly"], ("schedule", ("nightly",), {}), "2 times, 0 left out"),
        (
            ["schedules", "pause", "nightly", "--reason", "x"],
            ("pause_schedule", ("nightly",), {"reason": "x"}),
            "is paused",
        ),
        (["schedules", "resume", "nightly"], ("resume_schedule", ("nightly",), {}), "goes on"),
        (["schedules", "drop", "nightly"], ("drop_schedule", ("nightly",), {}), "is removed"),
        (
            ["schedules", "backfill", "nightly", "--from", "2026-11-25T09:00Z", "--to",
             "2026-11-25T09:00+00:00"],
            ("backfill_schedule", ("nightly", NINE, NINE), {}),
            "nightly@1\nnightly@2\n",
        ),
    ],
)  # fmt: skip
def test_what_a_command_asks(
    served: Served, args: list[str], call: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command changes one thing at the node, and says in a line what was done."""
    assert main(args) == 0
    assert says in capsys.readouterr().out
    name, given, named = served.node.calls[-1]
    # Of the client's making, so that asking again is one change.
    made = {"request", "revision"}
    assert (name, given, {key: named[key] for key in named.keys() - made}) == call


def test_a_trigger_names_its_moment(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """The moment of a triggered run is chosen here, so that asking again is safe."""
    assert main(["schedules", "trigger", "nightly"]) == 0
    assert capsys.readouterr().out == "nightly@1\n"
    ((name, args, kwargs),) = served.node.calls
    assert (name, args) == ("trigger_schedule", ("nightly",))
    assert abs(kwargs["at"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_an_update_prints_its_answer_or_its_refusal(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer is JSON; a refusal is one line and 1."""
    assert main(["update", "r", "add", "--payload", "3", "--id", "u1"]) == 0
    assert json.loads(capsys.readouterr().out) == {"total": 3}
    served.node.failing = errors.UpdateRefused("Negative", "no")
    assert main(["update", "r", "add"]) == 1
    assert capsys.readouterr().err == "raftoral: Negative: no\n"


def test_what_others_chose_does_not_drive_the_terminal(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters of a message or an id are written out, in facts, tables and errors."""
    served.node.failing = errors.UpdateRefused("Negative", "no\x1b[31m\n\x9bH")
    assert main(["update", "r", "add"]) == 1
    assert capsys.readouterr().err == "raftoral: Negative: no\\x1b[31m\n\\x9bH\n"
    render.facts([("status", "paused, \x1b]0;x\x07"), ("result", "one\ntwo")])
    render.table(["id"], [["a\x1b[2J\n"]])
    facts, table = (
        "status  paused, \\x1b]0;x\\x07\nresult  one\n        two\n",
        "id\na\\x1b[2J\\n\n",
    )
    assert capsys.readouterr().out == facts + table


def test_retry_and_fork_print_what_goes_on(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """A retry names the new generation, a fork the new run."""
    assert main(["run", "broken", "--id", "b", "--policy", "retry_failed"]) == 0
    capsys.readouterr()
    assert main(["retry", "b"]) == 0
    assert capsys.readouterr().out == "run b goes on, in generation 4\n"
    assert main(["fork", "b", "--at", "2", "--id", "copy"]) == 0
    assert capsys.readouterr().out == "copy\n"
    assert main(["fork", "b", "--id", "copy"]) == 2
    assert served.node.policies == ["retry_failed"]


def test_a_failure_carries_its_name_and_details(served: Served) -> None:
    """The failure of a callback arrives whole; its token may come from a pipe."""
    url = {"RAFTORAL_NODE": served.url}
    args = ["fail", "-", "--name", "Declined", "-m", "no money", "--details", '{"code": 51}']
    assert raftoral(*args, stdin="tok\n", **url).returncode == 0
    ((name, (token, error), _),) = served.node.calls
    assert (name, token) == ("fail_callback", "tok")
    assert (error.name, error.message, error.details) == ("Declined", "no money", {"code": 51})


def test_lists_are_filtered(served: Served) -> None:
    """Instants, spans, versions and attributes arrive as filters."""
    args = ["list", "--version", "2", "--since", "2h", "--until", "2026-11-25T09:00"]
    assert main([*args, "--attr", "status=paid", "--attr", "total=3"]) == 0
    filters = served.node.filters
    assert filters["attributes"] == {"status": "paid", "total": 3}
    assert (filters["version"], filters["started_before"]) == (2, NINE)
    ago = datetime.now(UTC) - filters["started_after"]
    assert timedelta(hours=1, minutes=55) < ago < timedelta(hours=2, minutes=5)


def test_a_history_is_followed(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Each step is a line as it comes, or a line of JSON; a new generation is told."""
    assert main(["run", "order", "--id", "o"]) == 0
    capsys.readouterr()
    assert main(["history", "o", "--follow"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "-- generation 1"
    assert len(lines) == 4
    assert lines[2].startswith("    1  ")
    assert main(["history", "o", "-f", "--json"]) == 0
    steps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [step["kind"] for step in steps] == ["Started", "Set", "Ended"]


def test_waiting_says_that_a_run_is_paused(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who waits for a run that nobody goes on with is told why, at once."""
    assert main(["run", "slow", "--id", "s", "--wait", "--timeout", "0.2"]) == 1
    assert "raftoral: run s is paused, lunch\n" in capsys.readouterr().err


def _kinds(root: type[errors.RaftoralError]) -> list[type[errors.RaftoralError]]:
    return [root, *(each for child in root.__subclasses__() for each in _kinds(child))]


def test_what_went_wrong_is_in_the_exit_code(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """2: called wrongly; 3: no such thing; 4: in conflict; 5: try again; 1: any other. One message."""
    expected = {
        errors.UnknownRun: 3,
        errors.UnknownSchedule: 3,
        errors.UnknownNode: 3,
        errors.UnknownCallback: 3,
        errors.UnknownQuery: 3,
        errors.UnknownDefinition: 3,
        errors.RunConflict: 4,
        errors.RunEnded: 4,
        errors.CallbackOver: 4,
        errors.ScheduleConflict: 4,
        errors.DefinitionRefused: 4,
        errors.LimitExceeded: 1,
    }
    for kind in _kinds(errors.UsageError):
        served.node.failing = kind("what to do")
        assert main(["cancel", "r"]) == expected.get(kind, 2), kind
        assert capsys.readouterr().err == "raftoral: what to do\n"
    served.node.failing = errors.StorageFailed("the disk")
    assert main(["cancel", "r"]) == 1


def test_not_now_is_5(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After the client's patience an unavailable cluster exits with 5."""
    monkeypatch.setattr("raftoral.client.connection._PAUSE_SECONDS", 10.0)
    with Served() as served:
        served.node = FakeNode()
        assert main(["cancel", "r", "--node", served.url]) == 0
    monkeypatch.setattr("raftoral.client.http.Client.cancel", _unavailable)
    assert main(["cancel", "r"]) == 5
    assert capsys.readouterr().err == "raftoral: no leader\n"


def _unavailable(*_: object, **__: object) -> None:
    raise errors.Unavailable("no leader")
