"""Files that are no programs: each is refused at once, with a reason and no traceback."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from raftoral.cli import main
from raftoral.lang.parse import TEXT_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
COMMANDS = [["check"], ["fmt", "--check"], ["test"], ["graph"], ["deploy"]]
GOOD = 'workflow w version 1 () { log "x" }\n'
LARGE = 'workflow w version 1 () {\n  log "x"\n}\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(folder: Path, what: str) -> None:
    """Put something into the folder that is called like a file of the language."""
    path = folder / "x.rwf"
    match what:
        case "a pipe that nobody writes":
            os.mkfifo(path)
        case "a device without an end":
            path.symlink_to("/dev/zero")
        case "a link to itself":
            path.symlink_to("x.rwf")
        case "a folder":
            path.mkdir()
        case "ten megabytes":
            path.write_text(LARGE * 300_000)
        case "ten megabytes of nothing":
            path.write_text("\n" * 10_000_000 + GOOD)
        case "another encoding":
            path.write_bytes(GOOD.encode("utf-16"))
        case _:
            pass


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("a pipe that nobody writes", "not a plain file"),
        ("a device without an end", "not a plain file"),
        ("a link to itself", "Too many levels of symbolic links"),
        ("a folder", ""),
        ("ten megabytes", "x.rwf is larger than 1,024 KiB"),
        ("ten megabytes of nothing", "x.rwf is larger than 1,024 KiB"),
        ("another encoding", "x.rwf is not UTF-8 text"),
        ("nothing at all", "No such file"),
    ],
)
def test_what_is_no_file_to_read_is_a_wrong_call(
    folder: Path, capsys: Capture, command: list[str], what: str, reason: str
) -> None:
    """Exit code 2 and one line that says why; nothing is read that does not end."""
    make(folder, what)
    assert main([*command, "x.rwf"]) == 2
    shown = capsys.readouterr()
    assert reason in shown.err
    assert "unexpected" not in shown.err


@pytest.mark.parametrize(
    ("imported", "code"),
    [
        ("pipe.rwf", "RWF0130"),
        ("/dev/zero", "RWF0130"),
        ("../../../../../../../../../../dev/zero", "RWF0130"),
        (".", "RWF0130"),
        ("x\\u{0}y.rwf", "RWF0130"),
        ("a" * 5_000, "RWF0130"),
        ("large.rwf", "RWF0404"),
        ("blank.rwf", "RWF0404"),
    ],
)
def test_what_cannot_be_imported_is_reported(
    folder: Path, capsys: Capture, imported: str, code: str
) -> None:
    """A pipe, a device, a folder, a path that no path is, more than a program may have."""
    os.mkfifo(folder / "pipe.rwf")
    (folder / "large.rwf").write_text("# " + "x" * TEXT_BYTES_MAX)
    (folder / "blank.rwf").write_text("\n" * 2_000_000 + GOOD)
    (folder / "x.rwf").write_text(f'import "{imported}" as other\n{GOOD}')
    assert main(["check", "x.rwf"]) == 1
    assert f"error[{code}]" in capsys.readouterr().out


def test_a_folder_is_searched_for_files_alone(folder: Path, capsys: Capture) -> None:
    """A folder inside it that is called like a file is none."""
    (folder / "sub.rwf").mkdir()
    (folder / "good.rwf").write_text(GOOD)
    assert main(["check", "."]) == 0
    assert capsys.readouterr().err == "1 file checked: nothing found\n"


def test_a_test_that_never_ends_has_failed(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that begin anew for ever are cut off by what they have written."""
    monkeypatch.setattr("raftoral.testing.trials.EVENTS_MAX", 1_000)
    (folder / "x.rwf").write_text(
        "workflow w version 1 (n: int = 0) { sleep 1s restart with (n: n + 1) }\n"
        'test "it ends" for w { expect elapsed == 0s }\n'
    )
    assert main(["test", "x.rwf"]) == 1
    assert "the test does not end: its runs have written 1,000 events" in capsys.readouterr().out
