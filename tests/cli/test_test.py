"""`raftoral test`: what it runs, prints and exits with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

import pytest

from raftoral._assets import asset
from raftoral.cli import main, render
from raftoral.testing.world import World

if TYPE_CHECKING:
    from pathlib import Path

PATTERNS = asset("workflows") / "patterns"
DOUBLE = """\
activity a.double(x: int) -> int timeout 5s

workflow twice version 1 (x: int) -> int {
  compute once = a.double(x)
  compute again = a.double(once)
  return again
}

test "four times" for twice {
  given (x: 1)
  mock a.double returns 2 times 1
  mock a.double returns 4
  expect result == 4
  expect calls(a.double) == 2
}
"""
WRONG = """
test "five # times" for twice {
  given (x: 1)
  mock a.double returns 4
  expect result == 5
}
"""
BESIDE = """\
activity a.slow() -> int timeout 1h idempotent

workflow beside version 1 () -> int {
  parallel as got {
    branch work {
      compute one = a.slow() retry 2 backoff 1s..1s timeout 30s
      give one
    }
    branch clock {
      sleep 10s
      give 0
    }
  }
  return got.work
}

test "half the work is done when the machine dies" for beside {
  mock a.slow fails Unavailable(message: "not yet") times 1
  mock a.slow returns 1
  mock a.slow takes 15s
  expect result == 1
  expect elapsed >= 30s
  expect elapsed <= 32s
}

test "the limit of an attempt counts from its beginning" for beside {
  mock a.slow returns 1
  mock a.slow takes 31s
  expect failure Timeout
}
"""

FAULTY = """\
error Declined { reason: string, owed: money<EUR>, left: list<int> }

activity bank.charge(x: int) -> string raises Declined timeout 5s idempotent

workflow pay version 1 (x: int) -> string {
  signal paid(by: string)
  try {
    compute receipt = bank.charge(x)
    return receipt
  } catch Unavailable {
    await paid as other
    return other.by
  }
}

test "it is paid" for pay {
  given (x: 1)
  mock bank.charge returns "r"
  expect result == "r"
}
"""
SCANNED = """\
activity a.prepare() -> int timeout 1m idempotent

workflow scanned version 1 () -> int {
  compute ready = a.prepare() retry 3 backoff 10s..10s
  callback scan: int timeout 1h
  await scan as found
  return found + ready
}

test "the scanner answers soon" for scanned {
  mock a.prepare returns 1
  at 1s callback scan returns 2
  expect result == 3
}
"""

BRANCHES = """\
activity a.b(x: int) -> int timeout 5s idempotent
enum Way { Left Right Back }

workflow ways version 1 (x: int, way: Way, xs: list<int>) -> int {
  signal go(by: string)
  if x > 0 {
    log "positive"
  }
  match way {
    case Way.Left { log "left" }
    case _ { log "other" }
  }
  for y in xs {
    log "{y}"
  }
  var n = 0
  while n < x max 3 {
    compute a.b(n)
    n = n + 1
  }
  try {
    compute r = a.b(x)
    log "{r}"
  } catch Unavailable {
    log "no"
  }
  parallel {
    branch one { sleep 1s }
    branch two { sleep 2s }
  }
  race {
    on go { log "go" }
    after 1m { log "late" }
    branch b { sleep 1h }
  }
  await go as g timeout 1m else {
    return 0
  }
  for y in xs parallel collect out { give y }
  require len(out) < 3 else "many"
  if len(out) == 1 { return 1 } else if len(out) == 2 { return 2 } else { return 3 }
}

test "to the left" for ways {
  given (x: 1, way: Way.Left, xs: [1])
  mock a.b returns 1
  expect result == 0
}
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_test_is_a_line(folder: Path, capsys: Capture) -> None:
    """A test that fails is shown with its place, its line and what was seen; a file without is told."""
    (folder / "a.rwf").write_text(DOUBLE + WRONG)
    (folder / "b.rwf").write_text(DOUBLE.split("\ntest")[0])
    assert main(["test"]) == 1
    shown = capsys.readouterr()
    assert shown.out == (
        "a.rwf\n"
        "  ok      four times\n"
        "  FAILED  five # times\n"
        "          a.rwf:20:3: expect result == 5\n"
        "            left is 4, right is 5\n"
        "b.rwf: no tests\n"
    )
    assert shown.err == "2 files: 1 test passed, 1 failed\n"


def test_a_file_with_mistakes_is_not_run(folder: Path, capsys: Capture) -> None:
    """Its reports are those of the compiler; the other files are run all the same."""
    (folder / "a.rwf").write_text(DOUBLE.replace("return again", "return agian"))
    (folder / "b.rwf").write_text(DOUBLE)
    assert main(["test", "a.rwf", "b.rwf"]) == 1
    shown = capsys.readouterr()
    assert "error[RWF0201]: cannot find `agian`" in shown.out
    assert "  ok      four times\n" in shown.out
    assert shown.err == "2 files: 1 test passed, 1 file with mistakes\n"


def test_a_path_that_is_not_there_is_a_wrong_call(capsys: Capture) -> None:
    """Exit code 2, and the reason."""
    assert main(["test", "nowhere.rwf"]) == 2
    assert "cannot read nowhere.rwf: No such file" in capsys.readouterr().err


def test_a_crash_behind_each_event_changes_nothing(capsys: Capture) -> None:
    """Workflows with work under way, children, sagas and signals keep their histories and times."""
    names = ["02_parallel", "08_sliding_window", "16_saga", "22_children"]
    assert main(["test", *(str(PATTERNS / f"{n}.rwf") for n in names), "--crash", "every"]) == 0
    shown = capsys.readouterr()
    assert "  ok      it takes as long as the longer one (6 crashes)\n" in shown.out
    assert shown.err == "4 files: 6 tests passed, 79 runs with a crash\n"


def test_mocks_and_work_survive_a_crash(folder: Path, capsys: Capture) -> None:
    """An attempt that is made again gets the answer that it had, when it would have had it."""
    (folder / "a.rwf").write_text(DOUBLE)
    (folder / "b.rwf").write_text(BESIDE)
    assert main(["test", "--crash", "every"]) == 0
    shown = capsys.readouterr().out
    assert "half the work is done when the machine dies (" in shown
    assert "the limit of an attempt counts from its beginning (" in shown


def test_a_crash_that_is_felt_is_told(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If crashed work took its whole time again, the run would take longer, and the event is named."""
    soon = World.crash_soon
    monkeypatch.setattr(World, "crash_soon", lambda world, *, rejoin: soon(world))
    path = str(PATTERNS / "02_parallel.rwf")
    assert main(["test", path, "--crash", "every"]) == 1
    shown = capsys.readouterr().out
    assert "  FAILED  it takes as long as the longer one (6 crashes)\n" in shown
    assert "after a crash behind event 3 (Done got/address/address" in shown


def test_a_bar_tells_how_far_a_long_test_is(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands on a terminal's stderr alone, and goes away; what is printed stays as it is."""
    (folder / "a.rwf").write_text(DOUBLE)
    monkeypatch.setattr(render, "PATIENCE_SECONDS", 0.0)
    assert main(["test", "--crash", "every"]) == 0
    plain = capsys.readouterr()
    assert plain.err == "1 file: 1 test passed, 4 runs with a crash\n"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["test", "--crash", "every"]) == 0
    shown = capsys.readouterr()
    assert shown.out == plain.out
    assert "four times" in shown.err
    assert "4/4" in shown.err
    assert shown.err.endswith(plain.err)


def test_faults_have_to_end_as_declared(folder: Path, capsys: Capture) -> None:
    """A run that never ends after a fault is told, and one that ends with an undeclared error."""
    (folder / "a.rwf").write_text(FAULTY)
    assert main(["test", "--faults", "each"]) == 1
    shown = capsys.readouterr()
    place = '          a.rwf:16:1: test "it is paid" for pay {\n'
    assert shown.out == (
        "a.rwf\n"
        "  FAILED  it is paid (2 faults)\n"
        f"{place}"
        "            when attempt 1 (bank.charge) fails with Declined\n"
        "              the run ends with Declined; catch it, or let the workflow say `raises Declined`\n"
        f"{place}"
        "            when attempt 1 (bank.charge) fails with Unavailable\n"
        "              the run does not end, it waits for signal paid (paid#0)\n"
    )
    assert shown.err == "1 file: 0 tests passed, 1 failed, 2 runs with a fault\n"
    (folder / "a.rwf").write_text(
        FAULTY.replace("-> string {", "-> string raises Declined {").replace(
            "await paid as other\n    return other.by", 'return "later"'
        )
    )
    assert main(["test", "--faults", "each"]) == 0


def test_a_callback_waits_for_a_run_that_a_fault_delays(folder: Path, capsys: Capture) -> None:
    """What completes a callback that is not open yet, since an attempt failed, is not lost."""
    (folder / "a.rwf").write_text(SCANNED)
    assert main(["test", "--faults", "each"]) == 0
    assert "  ok      the scanner answers soon (1 fault)\n" in capsys.readouterr().out


def test_lines_that_no_test_reaches_are_told(folder: Path, capsys: Capture) -> None:
    """By the lines of the text as it is; what only a failure reaches, --faults each reaches."""
    (folder / "a.rwf").write_text("\n\n" + FAULTY)
    assert main(["test", "--coverage"]) == 0
    line = "  pay version 1: {} of 5 statements reached"
    assert line.format(3) + ", not lines 13-14; 1 of 2 branches taken, not line 12 (catch)\n" in (
        capsys.readouterr().out
    )
    assert main(["test", "--coverage", "--faults", "each"]) == 1
    assert line.format(4) + ", not line 14; 2 of 2 branches taken\n" in capsys.readouterr().out


def test_branches_that_no_test_takes_are_told(folder: Path, capsys: Capture) -> None:
    """Each statement that chooses has its ways, those too that are not written; no choice, no word."""
    (folder / "a.rwf").write_text(BRANCHES)
    (folder / "b.rwf").write_text(DOUBLE)
    assert main(["test", "--coverage"]) == 0
    assert capsys.readouterr().out == (
        "a.rwf\n"
        "  ok      to the left\n"
        "  ways version 1: 21 of 31 statements reached, not lines 11, 25, 32, 39-41;"
        " 9 of 24 branches taken, not lines 6 (else), 11 (case), 13 (no turn), 17 (no turn),"
        " 24 (catch), 32 (on), 34 (branch), 36 (in time), 39 (a turn), 39 (no turn),"
        " 40 (as required), 40 (else), 41 (else), 41 (if), 41 (if)\n"
        "b.rwf\n"
        "  ok      four times\n"
        "  twice version 1: 3 of 3 statements reached\n"
    )


def test_coverage_for_harnesses_and_servers(folder: Path, capsys: Capture) -> None:
    """TAP has it as comments behind the tests of the file, JUnit as the output of its suite."""
    (folder / "a.rwf").write_text(FAULTY)
    told = (
        "pay version 1: 3 of 5 statements reached, not lines 11-12;"
        " 1 of 2 branches taken, not line 10 (catch)"
    )
    assert main(["test", "--coverage", "--format", "tap"]) == 0
    assert capsys.readouterr().out == (
        f"TAP version 14\n1..1\nok 1 - a.rwf: it is paid\n# a.rwf: {told}\n"
    )
    assert main(["test", "--coverage", "--format", "junit"]) == 0
    (suite,) = Xml.fromstring(capsys.readouterr().out.encode())
    assert [(one.tag, one.text) for one in suite][1:] == [("system-out", told)]


def test_tap_is_for_harnesses(folder: Path, capsys: Capture) -> None:
    """A plan, a line a test whose title is no directive, what was seen as comments."""
    (folder / "a.rwf").write_text(DOUBLE + WRONG)
    assert main(["test", "--format", "tap"]) == 1
    assert capsys.readouterr().out == (
        "TAP version 14\n"
        "1..2\n"
        "ok 1 - a.rwf: four times\n"
        "not ok 2 - a.rwf: five \\# times\n"
        "# a.rwf:20:3: expect result == 5\n"
        "# left is 4, right is 5\n"
    )


def test_junit_is_for_ci_servers(folder: Path, capsys: Capture) -> None:
    """A suite a file, a case a test; a file with mistakes is an error."""
    (folder / "a.rwf").write_text(DOUBLE + WRONG)
    (folder / "b.rwf").write_text("workflow")
    assert main(["test", "--format", "junit"]) == 1
    root = Xml.fromstring(capsys.readouterr().out.encode())
    assert root.attrib == {"tests": "3", "failures": "1", "errors": "1"}
    assert [suite.get("name") for suite in root] == ["a.rwf", "b.rwf"]
    assert [case.get("name") for case in root[0]] == ["four times", "five # times"]
    failure = root[0][1][0]
    assert failure.get("message") == "a.rwf:20:3: expect result == 5"
    assert "left is 4, right is 5" in (failure.text or "")
    assert root[1][0][0].tag == "error"
