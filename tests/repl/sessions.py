"""Sessions to test with: the same order as a Python workflow, and without a node."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from raftoral import Registry, WorkflowFailed, workflow
from raftoral.convert import to_plain
from raftoral.registry.definition import python_definition
from raftoral.registry.python import start_python
from raftoral_repl.app import greet
from raftoral_repl.commands import execute
from raftoral_repl.render import Screen
from raftoral_repl.session import Session, open_session, program_of
from tests.repl import shop
from tests.repl.recorded import record, view_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raftoral.replay.effects import Workflow
    from raftoral.runtime.views import HistoryView

ANSWERS: Mapping[str, Sequence[Any]] = {
    "lamp/reservation": [WorkflowFailed("Busy", "try later"), "r-7"],
    "desk/reservation": ["r-8"],
    "approve#0": [{"by": "ada"}],
    "payment": ["p-1"],
    "sleep#0": [],
}


def python_history(answers: Mapping[str, Sequence[Any]] = ANSWERS) -> HistoryView:
    """Return the export of a run of `shop.order`, as far as there are answers."""
    found: Workflow[Any, Any] = shop.order
    events = record(
        lambda started: start_python(found, started),
        "order",
        {"order": to_plain(shop.SAMPLE)},
        answers,
    )
    made = python_definition(found)
    return view_of(
        "order",
        events,
        run_id="o-7719",
        kind="python",
        source=made.source,
        meaning_hash=made.meaning_hash,
    )


def other_code() -> Registry:
    """Return an application whose version 1 of the order is another function."""
    return Registry(workflows=[workflow("order", version=1)(shop.hasty.function)])


def python_session(
    registry: Registry = shop.registry, answers: Mapping[str, Sequence[Any]] = ANSWERS
) -> Session:
    """Return a session on the recorded order."""
    view = python_history(answers)
    return open_session(view, program_of(view, None, registry))


def shown(session: Session, *lines: str) -> str:
    """Return what the lines print; the greeting for none."""
    out = io.StringIO()
    screen = Screen(out)
    if not lines:
        greet(session, screen)
    for line in lines:
        screen.show(execute(session, line))
    return out.getvalue()
