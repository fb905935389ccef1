"""`raftoral graph`: what it prints, writes and refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral._assets import asset
from raftoral.cli import main

if TYPE_CHECKING:
    from pathlib import Path

ORDER = str(asset("workflows") / "order.rwf")
TWO = "workflow a version 1 () { log 1 }\nworkflow a version 2 () { log 2 }\nworkflow b version 1 () { log 3 }\n"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_mermaid_is_printed(capsys: Capture) -> None:
    """Without an option the answer is Mermaid text."""
    assert main(["graph", ORDER]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("flowchart TD\n")
    assert "workflow order version 1" in shown


def test_svg_is_written(tmp_path: Path, capsys: Capture) -> None:
    """`--output` names the file of the picture."""
    path = tmp_path / "order.svg"
    assert main(["graph", ORDER, "--format", "svg", "-o", str(path)]) == 0
    assert path.read_text() == (asset("grammar") / "order.svg").read_text()
    assert capsys.readouterr().out == ""


def test_one_of_several_is_chosen(tmp_path: Path, capsys: Capture) -> None:
    """A file with several workflows asks which; the newest version of that name is drawn."""
    path = tmp_path / "two.rwf"
    path.write_text(TWO)
    assert main(["graph", str(path)]) == 2
    assert "choose one by --workflow: a, b" in capsys.readouterr().err
    assert main(["graph", str(path), "--workflow", "a"]) == 0
    assert "workflow a version 2" in capsys.readouterr().out
    assert main(["graph", str(path), "--workflow", "c"]) == 2
    assert "there is no workflow c" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("workflow w version 1 () { let = 1 }", 1, "error[RWF0001]"),
        ("record A { x: int }", 2, "there is no workflow in"),
        ("workflow w version 1 () {" + " if true {" * 40 + " }" * 41, 1, "deeper than 32"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, text: str, code: int, said: str, capsys: Capture
) -> None:
    """A text that does not parse, has no workflow, or is too deep ends with one message."""
    path = tmp_path / "x.rwf"
    path.write_text(text)
    assert main(["graph", str(path)]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, capsys: Capture) -> None:
    """Nothing is written silently nowhere."""
    assert main(["graph", ORDER, "-o", str(tmp_path / "no" / "x.svg")]) == 1
    assert "cannot write" in capsys.readouterr().err
