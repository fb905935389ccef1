"""The command line of the simulator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from raftoral.sim.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


def test_a_trace_holds_the_steps_of_one_group_as_lines_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line is an event with its node and state, and the run itself holds."""
    path = tmp_path / "steps.ndjson"
    assert main(["--seed", "7", "--seconds", "3", "--trace", str(path)]) == 0
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert {"InitState", "BecomeLeader", "Replicate", "Commit"} <= {each["name"] for each in events}
    assert all({"nid", "state", "role", "log", "conf"} <= each.keys() for each in events)
    assert "0 violations" in capsys.readouterr().out


def test_a_trace_of_many_seeds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One trace is of one seed: the call is refused with what to do."""
    with pytest.raises(SystemExit) as refused:
        main(["--minutes", "1", "--trace", "x"])
    assert refused.value.code == 2
    assert "leave --minutes out" in capsys.readouterr().err
