"""`raftoral check` and `raftoral explain`: what they print, change and exit with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from raftoral._assets import asset
from raftoral.cli import main
from raftoral.lang.pages import pages
from raftoral.lint.codes import explanations

if TYPE_CHECKING:
    from pathlib import Path

ORDER = str(asset("workflows") / "order.rwf")
WRONG = (
    "workflow w version 1 (x: int) {\n  if x == 1 { log 1 } elif y == 2 { log 2 }\n  log 3;\n}\n"
)
WARNED = "activity a.b(x: int) -> int\n\nworkflow w version 1 () -> int {\n  compute y = a.b(1)\n  return y\n}\n"
APP = """\
from raftoral import Registry, activity


@activity("a.b")
def b(x: str, extra: int) -> int:
    return len(x) + extra


registry = Registry(activities=[b])
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a folder of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_what_is_right_is_told_with_its_largest_history(capsys: Capture) -> None:
    """A file without mistakes gets the bound of each of its workflows, and exit code 0."""
    assert main(["check", ORDER]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("order version 1: at most ")
    assert shown.err == "1 file checked: nothing found\n"


def test_all_mistakes_are_told_at_once(tmp_path: Path, capsys: Capture) -> None:
    """Every mistake of every file, with its place; errors make the exit code 1."""
    (tmp_path / "a.rwf").write_text(WRONG)
    (tmp_path / "b.rwf").write_text(WARNED)
    assert main(["check", "."]) == 1
    shown = capsys.readouterr()
    assert "error[RWF0005]: `elif` is written `else if`" in shown.out
    assert "error[RWF0002]: statements need no `;`" in shown.out
    assert "warning[RWF0505]: `a.b` may take for ever" in shown.out
    assert "2 files checked: 2 errors, 1 warning" in shown.err


def test_warnings_stop_nothing(tmp_path: Path) -> None:
    """A file with warnings alone is fine."""
    (tmp_path / "b.rwf").write_text(WARNED)
    assert main(["check", "b.rwf"]) == 0


def test_fix_changes_what_can_only_be_meant_so(tmp_path: Path, capsys: Capture) -> None:
    """Safe changes are made in the file; what is left is told."""
    path = tmp_path / "a.rwf"
    path.write_text(WRONG)
    assert main(["check", "--fix", "a.rwf"]) == 1
    assert path.read_text() == (
        "workflow w version 1 (x: int) {\n  if x == 1 { log 1 } else if y == 2 { log 2 }\n  log 3\n}\n"
    )
    shown = capsys.readouterr()
    assert "2 mistakes fixed" in shown.err
    assert "error[RWF0201]: cannot find `y`" in shown.out


def test_json_is_for_programs(tmp_path: Path, capsys: Capture) -> None:
    """Findings have their places and changes, workflows their largest history."""
    (tmp_path / "a.rwf").write_text(WRONG)
    assert main(["check", "--format", "json", "a.rwf"]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    first = found["findings"][0]
    assert (first["code"], first["line"], first["column"]) == ("RWF0005", 2, 23)
    (fix,) = first["fixes"]
    assert fix["safe"]
    assert fix["edits"] == [
        {"text": "else if", "line": 2, "column": 23, "end_line": 2, "end_column": 27}
    ]
    assert main(["check", "--format", "json", ORDER]) == 0
    (workflow,) = json.loads(capsys.readouterr().out)["workflows"]
    assert workflow["name"] == "order"
    assert workflow["largest_history"]["events"] > 20


def test_sarif_is_for_code_hosts(tmp_path: Path, capsys: Capture) -> None:
    """Each result names a rule whose page is in the log, with its changes."""
    (tmp_path / "a.rwf").write_text(WRONG)
    assert main(["check", "--format", "sarif", "a.rwf"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert "fixes" in result


def test_the_application_is_compared(tmp_path: Path, capsys: Capture) -> None:
    """`--with` finds activities that are missing or cannot be called as declared."""
    (tmp_path / "a.rwf").write_text(WARNED.replace("-> int\n\n", "-> int timeout 5s\n\n"))
    (tmp_path / "app_of_check.py").write_text(APP)
    assert main(["check", "a.rwf", "--with", "app_of_check.py:registry"]) == 1
    shown = capsys.readouterr().out
    assert "error[RWF0702]: `a.b` is declared with 1 parameters, and its function takes 2" in shown
    assert " --> a.rwf:1:10" in shown
    assert main(["check", "a.rwf", "--with", "nothing.py:registry"]) == 2
    assert "there is no file nothing.py" in capsys.readouterr().err


def test_the_example_fits_its_application(capsys: Capture) -> None:
    """Nothing is found in the samples: not in order.rwf with the application beside it, not in any."""
    app = str(asset("workflows") / "order.py")
    for command in (
        ["check", ORDER, "--with", f"{app}:registry"],
        ["check", str(asset("workflows"))],
        ["lint", str(asset("workflows"))],
    ):
        assert main(command) == 0
        shown = capsys.readouterr()
        assert "checked: nothing found\n" in shown.out + shown.err


def test_explain_lists_and_shows(capsys: Capture) -> None:
    """Every code of the compiler and of the lint is listed and has a page."""
    assert main(["explain"]) == 0
    listed = capsys.readouterr().out
    for code in (*pages(), *explanations()):
        assert f"\n{code} " in f"\n{listed}"
    for code in ("RWF0214", "rwf0214", "RPY01"):
        assert main(["explain", code]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"# {code.upper()}: ")
        assert "## Wrong" in shown


def test_an_unknown_code_is_told(capsys: Capture) -> None:
    """A code that does not exist gets the one that was probably meant."""
    assert main(["explain", "RWF021"]) == 2
    assert "there is no code RWF021; did you mean `RWF0" in capsys.readouterr().err
