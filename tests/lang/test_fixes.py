"""What a report offers to change mends what it reports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raftoral._assets import asset
from raftoral.lang.diagnostics import Edit, Fix
from raftoral.lang.fixing import applied, mended
from raftoral.lang.read import read
from raftoral.lang.source import Source, Span

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Diagnostic

FOLDERS = (Path(__file__).parent / "errors", asset("grammar") / "errors")
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.rwf"))]


def reports(source: Source) -> tuple[Diagnostic, ...]:
    """Return everything that is said about a source."""
    return read(source).diagnostics.all()


def offered() -> list[tuple[Source, Diagnostic, Fix]]:
    """Return every fix that the corpus of mistakes gets."""
    found = []
    for path in FILES:
        source = Source(path.name, re.sub(r" *###.*", "", path.read_text())).clean()
        found += [(source, one, fix) for one in reports(source) for fix in one.fixes]
    return found


OFFERED = offered()


@pytest.mark.parametrize("number", range(len(OFFERED)))
def test_a_fix_answers_its_report(number: int) -> None:
    """After the change the report is gone, and what is read before it is as it was."""
    source, report, fix = OFFERED[number]
    text, count = applied(source.text, [fix])
    assert count == 1
    before = [(one.code, one.message) for one in reports(source)]
    after = [(one.code, one.message) for one in reports(Source(source.path, text))]
    key = (report.code, report.message)
    assert after.count(key) < before.count(key), (report.message, fix.title)


def test_most_misspelt_words_have_a_fix() -> None:
    """Names, words and slips are offered for replacement, some of them safely."""
    assert len(OFFERED) > 25
    assert {"RWF0002", "RWF0003", "RWF0005", "RWF0201", "RWF0203"} <= {
        one.code for _, one, _ in OFFERED
    }
    assert {one.code for _, one, fix in OFFERED if fix.safe} >= {"RWF0002", "RWF0003", "RWF0005"}


def test_safe_fixes_are_made_until_none_is_left() -> None:
    """Mending one mistake shows the next; all of them are told."""
    text = "worklow w version 1 (x: int) {\n  if x == 1 { log 1; } elif x == 2 { raise 2 }\n}\n"
    source, done = mended(Source("x.rwf", text), reports)
    assert source.text == (
        "workflow w version 1 (x: int) {\n  if x == 1 { log 1 } else if x == 2 { fail 2 }\n}\n"
    )
    assert sorted(one.code for one in done) == ["RWF0002", "RWF0003", "RWF0005", "RWF0005"]


def test_changes_that_meet_are_not_made_together() -> None:
    """Of two changes of one place the first is made."""
    one = Fix("a", (Edit(Span(0, 3), "x"),))
    two = Fix("b", (Edit(Span(2, 5), "y"),))
    three = Fix("c", (Edit(Span(5, 5), "z"),))
    assert applied("abcdef", [one, two, three]) == ("xdezf", 2)
