"""The same order as a `.rwf` workflow, and on another text."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from raftoral.errors import WorkflowFailed
from raftoral.lang import compile as language
from raftoral.lang.source import Source
from raftoral.values import Money
from raftoral_repl.session import Session, open_session, program_of
from tests.repl.recorded import record, view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.compile import WorkflowUnit
    from raftoral.runtime.views import HistoryView

SHOP = Path(__file__).parent / "shop.rwf"


def _unit(path: Path) -> WorkflowUnit:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    compiled = language.compile_source(source)
    assert not compiled.has_errors
    (unit,) = compiled.units
    return unit


def rwf_history() -> HistoryView:
    """Return the export of a whole run of the order."""
    unit = _unit(SHOP)
    answers: dict[str, Sequence[object]] = {
        "item[0]/reservation": [WorkflowFailed("Busy", "try later"), "r-7"],
        "item[1]/reservation": ["r-8"],
        "approve#0": [{"by": "ada"}],
        "payment": ["p-1"],
        "sleep#0": [],
    }
    events = record(
        lambda started: language.start(unit.ir, started.input),
        unit.name,
        {"id": "o-7719", "items": ["lamp", "desk"], "amount": Money(Decimal("80.00"), "EUR")},
        answers,
    )
    return view_of(
        unit.name,
        events,
        run_id="o-7719",
        kind="rwf",
        source=unit.source,
        ir=unit.ir,
        meaning_hash=unit.meaning_hash,
    )


def rwf_session() -> Session:
    """Return a session on the code that the history carries."""
    view = rwf_history()
    return open_session(view, program_of(view, None, None))


def rwf_session_on_other_text() -> Session:
    """Return a session on version 2 of the text, which asks for a score before the payment."""
    view = rwf_history()
    return open_session(view, program_of(view, str(SHOP.with_name("shop_v2.rwf")), None))
