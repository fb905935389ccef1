"""`raftoral lint`: what is printed for people and for programs, and the exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from raftoral.cli import main

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
import time

from raftoral import Flow, Log, Registry, workflow


def stamp() -> float:
    return time.time()


@workflow("late", version=1)
def late(name: str) -> Flow[float]:
    yield from Log(name)
    return stamp()


@workflow("good", version=1)
def good(name: str) -> Flow[None]:
    yield from Log(f"{len(name):.1f}")


registry = Registry(workflows=[late, good])
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an application whose workflow reads a clock; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "app_that_is_late.py").write_text(TEXT)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "broken.py").write_text("def")
    return tmp_path


def test_findings_are_shown_as_the_compiler_shows_its_own(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code, place, line, caret, help and the way there; errors exit with 1."""
    assert main(["lint"]) == 1
    assert capsys.readouterr().out == (
        "error[RPY10]: `time.time` reads the clock\n"
        " --> app_that_is_late.py:7:12\n"
        "  |\n"
        "7 |     return time.time()\n"
        "  |            ^^^^^^^^^\n"
        "  |\n"
        "  = help: read the group's clock, once and recorded: `now = yield from Now()`\n"
        "  = note: `stamp` is called from `late` (app_that_is_late.py:13)\n"
        "\n"
        "2 workflows checked: 1 error, 0 warnings\n"
    )


@pytest.mark.parametrize("target", ["app_that_is_late.py", "app_that_is_late:registry"])
def test_a_file_is_read_and_a_name_is_imported(
    app: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways find the same; importing an application that would not register does not stop it."""
    assert main(["lint", "--format", "json", target]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["code"] == "RPY10"
    assert (found["file"], found["line"], found["column"]) == ("app_that_is_late.py", 7, 12)
    assert found["end_column"] == 21


def test_one_workflow_by_its_name(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A workflow is checked alone when it is named alone."""
    assert main(["lint", "app_that_is_late:good"]) == 0
    assert capsys.readouterr().out == "1 workflow checked: nothing found\n"


def test_sarif_has_rules_and_relative_places(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code hosts get a rule with its page, and a place relative to where the lint ran."""
    assert main(["lint", "--format", "sarif"]) == 1
    log = json.loads(capsys.readouterr().out)
    (run,) = log["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    (result,) = run["results"]
    assert (log["version"], rule["id"], result["ruleId"]) == ("2.1.0", "RPY10", "RPY10")
    assert rule["help"]["text"].startswith("wrong:\n")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "app_that_is_late.py"
    assert place["region"]["startLine"] == 7


def test_a_file_that_is_no_python_is_one_error(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be read is reported by its place and not by a traceback."""
    (app / "broken.py").write_text("x = 1\ndef (\n")
    assert main(["lint", "broken.py"]) == 1
    assert capsys.readouterr().out.startswith("error[RPY25]: this is no Python: invalid syntax\n")
    (app / "zero.py").write_bytes(b"x = '\0'\n")
    assert main(["lint", "zero.py"]) == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing_here", "there is no nothing_here here"),
        ("x.rwf", "the compiler checks such files"),
        ("app_that_is_late:stamp", "it must be a workflow or a raftoral.Registry"),
        ("app_that_is_late:nobody", "has nothing named 'nobody'"),
    ],
)
def test_what_cannot_be_checked_is_called_wrongly(
    app: Path, target: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that is nothing to check exits with 2 and says why."""
    assert main(["lint", target]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_workflows_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checking nothing is no success that goes unnoticed."""
    assert main(["lint", str(tmp_path)]) == 0
    assert "no workflow was found" in capsys.readouterr().err
