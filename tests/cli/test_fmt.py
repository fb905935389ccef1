"""`raftoral fmt`: what it prints, writes, leaves alone and exits with."""

from __future__ import annotations

import io
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from raftoral.cli import main

if TYPE_CHECKING:
    from pathlib import Path

UGLY = 'workflow  w version 1(){log "a"   return none}\n'
NEAT = 'workflow w version 1 () {\n  log "a"\n  return none\n}\n'
BROKEN = "workflow w version 1 () { let = 1 }\n"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give the command a standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_files_and_folders_are_rewritten(tmp_path: Path, capsys: Capture) -> None:
    """Each file once, folders searched but for hidden ones, permissions kept, the count told."""
    folder = tmp_path / "flows"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    ugly, neat, hidden = folder / "deep" / "a.rwf", folder / "b.rwf", folder / ".hidden" / "c.rwf"
    for path, text in ((ugly, UGLY), (neat, NEAT), (hidden, UGLY)):
        path.write_text(text)
    ugly.chmod(0o640)
    assert main(["fmt", str(folder), str(neat)]) == 0
    assert (ugly.read_text(), neat.read_text(), hidden.read_text()) == (NEAT, NEAT, UGLY)
    assert stat.S_IMODE(ugly.stat().st_mode) == 0o640
    shown = capsys.readouterr()
    assert shown.out == f"formatted {ugly}\n"
    assert shown.err == "2 files: 1 changed, 1 left as they are\n"
    assert sorted(one.name for one in folder.rglob("*")) == [".hidden", "a.rwf", "b.rwf", "c.rwf", "deep"]  # fmt: skip


def test_check_writes_nothing_and_exits_with_1(tmp_path: Path, capsys: Capture) -> None:
    """`--check` names what would change, and is content with what is canonical."""
    path = tmp_path / "a.rwf"
    path.write_text(UGLY)
    assert main(["fmt", "--check", str(path)]) == 1
    assert path.read_text() == UGLY
    assert f"would change {path}" in capsys.readouterr().out
    path.write_text(NEAT)
    assert main(["fmt", "--check", str(path)]) == 0


def test_diff_shows_what_would_change(tmp_path: Path, capsys: Capture) -> None:
    """`--diff` prints a unified diff and writes nothing."""
    path = tmp_path / "a.rwf"
    path.write_text(UGLY)
    assert main(["fmt", "--diff", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "-workflow  w version 1(){" in shown
    assert "+workflow w version 1 () {" in shown
    assert path.read_text() == UGLY
    assert main(["fmt", "--diff", "--check", str(path)]) == 1


def test_standard_input_is_answered_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """`-` reads a text and prints it formatted, alone on standard output."""
    stdin(monkeypatch, UGLY)
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr() == (NEAT, "")


def test_a_broken_text_is_reported_and_left_alone(tmp_path: Path, capsys: Capture) -> None:
    """The report says where; the other files are formatted all the same; the exit code is 1."""
    broken, ugly = tmp_path / "a.rwf", tmp_path / "b.rwf"
    broken.write_text(BROKEN)
    ugly.write_text(UGLY)
    assert main(["fmt", str(tmp_path)]) == 1
    assert broken.read_text() == BROKEN
    assert ugly.read_text() == NEAT
    shown = capsys.readouterr().err
    assert f"--> {broken}:1:31" in shown
    assert "2 files: 1 changed, 0 left as they are, 1 with mistakes" in shown


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("no.rwf", None, "cannot read"),
        ("empty", None, "there is no .rwf file in"),
        ("latin.rwf", b"# caf\xe9", "is not UTF-8 text"),
        ("code.py", b"x = 1", "is Python"),
    ],
)
def test_what_cannot_be_read_is_one_message(
    tmp_path: Path, name: str, data: bytes | None, said: str, capsys: Capture
) -> None:
    """A file that is not there, a folder without files, another kind of file: exit code 2."""
    (tmp_path / "empty").mkdir()
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert main(["fmt", str(tmp_path / name)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("raftoral: ")
    assert said in shown
    assert shown.count("\n") == 1
