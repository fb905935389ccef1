"""The requirements that others wrote for durable execution, where they lie beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.cases import CASES, NOT_EXPRESSIBLE
from tests.conformance.requirements import folder, read
from tests.conformance.runner import verdict

ROOT = os.environ.get("RAFTORAL_CORPORA", "")
PATHS = folder(Path(ROOT)) if ROOT else []


@pytest.mark.skipif(not PATHS, reason="set RAFTORAL_CORPORA to a folder with such requirements")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_requirement_is_met_also_with_a_crash_at_every_event(path: Path) -> None:
    """Result and order of events are the required ones; a crash after any event changes nothing."""
    one = read(path)
    if one.id in NOT_EXPRESSIBLE:
        pytest.skip(NOT_EXPRESSIBLE[one.id])
    assert one.id in CASES
    assert verdict(one, CASES[one.id]) == ""


def test_what_is_not_expressible_has_a_reason_and_no_workflow() -> None:
    """Each requirement either has a workflow or a reason why it has none."""
    assert all(NOT_EXPRESSIBLE.values())
    assert not CASES.keys() & NOT_EXPRESSIBLE.keys()
