"""The requirements that others wrote for durable execution, where they lie beside the checkout."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.format import format_source
from raftoral.lang.source import Source
from tests.conformance.cases import CASES, NOT_EXPRESSIBLE
from tests.conformance.mapping import difference
from tests.conformance.programs import FILES, PROGRAMS, UNWRITTEN
from tests.conformance.requirements import folder, read
from tests.conformance.runner import lists_all, run, told, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.cases import Case

ROOT = os.environ.get("RAFTORAL_CORPORA", "")
PATHS = folder(Path(ROOT)) if ROOT else []
ENDS: Final = ("ExecutionSucceeded", "ExecutionFailed")
LANGUAGES: Final[dict[str, tuple[dict[str, Callable[[], Case]], dict[str, str]]]] = {
    "python": (CASES, NOT_EXPRESSIBLE),
    "rwf": (PROGRAMS, UNWRITTEN),
}


@pytest.mark.skipif(not PATHS, reason="set RAFTORAL_CORPORA to a folder with such requirements")
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_requirement_is_met_also_with_a_crash_at_every_event(path: Path, language: str) -> None:
    """Result and order of events are the required ones; a crash after any event changes nothing."""
    one = read(path)
    cases, reasons = LANGUAGES[language]
    if one.id in reasons:
        pytest.skip(reasons[one.id])
    assert one.id in cases
    assert verdict(one, cases[one.id]) == ""


@pytest.mark.skipif(not PATHS, reason="set RAFTORAL_CORPORA to a folder with such requirements")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_history_that_lacks_an_event_or_a_detail_meets_nothing(path: Path) -> None:
    """Without any one of its wanted events, or of what they tell, a history is not the required one."""
    one = read(path)
    if one.id not in PROGRAMS or not lists_all(one):
        pytest.skip("it has no program, or leaves events open")
    case = PROGRAMS[one.id]()
    events = told(case, run(one, case))
    if one.events[-1]["EventType"] not in ENDS:
        events = [event for event in events if event.type not in ENDS]
    assert difference(one.events, events, all_of=True) == ""
    for n, (event, want) in enumerate(zip(events, one.events, strict=True)):
        assert difference(one.events, events[:n] + events[n + 1 :], all_of=True)
        if event.details and wanted(want):
            bare = replace(event, details={})
            assert difference(one.events, [*events[:n], bare, *events[n + 1 :]], all_of=True)


def wanted(event: dict[str, Any]) -> bool:
    """Tell whether a requirement asks for any detail of an event in particular."""
    details = event.get(f"{event['EventType']}Details")
    return isinstance(details, dict) and any(value != "*" for value in details.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_not_expressible_has_a_reason_and_no_workflow(language: str) -> None:
    """Each requirement either has a workflow or a reason why it has none."""
    cases, reasons = LANGUAGES[language]
    assert all(reasons.values())
    assert not cases.keys() & reasons.keys()
    assert cases.keys() | reasons.keys() == CASES.keys() | NOT_EXPRESSIBLE.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_program_has_its_layout(path: Path) -> None:
    """`raftoral fmt` would change nothing; that `raftoral check` finds nothing, loading it shows."""
    source = Source.from_bytes(path.name, path.read_bytes())
    assert format_source(source, Diagnostics()) == source.text
