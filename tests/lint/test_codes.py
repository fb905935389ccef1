"""Every code has a page whose wrong example gets it and whose right one gets nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import raftoral
from raftoral.errors import NotRepeatable
from raftoral.lint.check import check_paths
from raftoral.lint.codes import explanations
from raftoral.lint.kinds import EFFECTS
from raftoral.registry.apps import load_workflows
from raftoral.registry.python import start_python
from raftoral.replay import effects
from raftoral.replay.history import Started

if TYPE_CHECKING:
    from raftoral.ids import Millis

PRELUDE = """\
import asyncio
import os
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import requests
from raftoral import (
    Checkpoint, Compute, Flow, ForEach, Log, Now, Parallel, Random, Receive, Sleep, Uuid,
    WorkflowFailed, activity, scope, workflow,
)

@dataclass(frozen=True)
class Order:
    id: str
    total: Decimal
    tags: frozenset[str]
    weight: float

@activity("payments.charge")
def charge(order_id: str, total: Decimal) -> str: ...

@activity("mail.send")
def send(text: str) -> str: ...

@activity("shop.fetch")
def fetch(url: str) -> str: ...

@activity("clock.offset")
def offset() -> int: ...

"""
"""What the examples use and the pages do not show."""

PAGES = [page for page in explanations().values() if page.severity != "run"]


def codes_of(path: Path, text: str) -> list[str]:
    """Return the codes that a page's example gets."""
    path.write_text(f"{PRELUDE}{text}\n")
    return [one.code for report in check_paths([path]).reports for one in report.diagnostics]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_the_wrong_example_gets_its_code_and_the_right_one_nothing(
    page: Any, tmp_path: Path
) -> None:
    """A page is true: its wrong example fails with that code, its right one passes."""
    assert page.code in codes_of(tmp_path / "wrong.py", page.wrong)
    assert codes_of(tmp_path / "right.py", page.right) == []


def test_the_example_of_the_guard_is_refused_at_run(tmp_path: Path) -> None:
    """RPY15 is raised where the code uses the name, and names the effect to use."""
    page = explanations()["RPY15"]
    prelude = PRELUDE.replace("import requests\n", "")
    (tmp_path / "late.py").write_text(f"{prelude}{page.wrong}\n")
    (late,) = load_workflows(f"{tmp_path / 'late.py'}:late")
    body = start_python(late, Started("late", 1, "", {"name": "time"}, at(0), "", 0))
    next(body.generator)
    with pytest.raises(NotRepeatable, match=r"RPY15: `time.time` \(late.py:\d+\).*Now\(\)"):
        body.generator.send(None)


def at(millis: int) -> Millis:
    """Return a moment."""
    from raftoral.ids import Millis

    return Millis(millis)


def test_every_code_that_is_reported_has_a_page() -> None:
    """No code stands in the lint that `explain` does not know, and no page is of a code that is not."""
    folder = Path(raftoral.__file__).parent
    texts = [path.read_text() for path in (folder / "lint").glob("*.py") if path.name != "codes.py"]
    texts.append((folder / "registry" / "refusals.py").read_text())
    used = {code for text in texts for code in re.findall(r'"(RPY\d\d)[":]|RPY15', text)} | {
        "RPY15"
    }
    used.discard("")
    assert used == set(explanations())


def test_the_lint_knows_every_effect() -> None:
    """The names that the lint takes for effects are those that a workflow can yield."""
    kinds = {
        name
        for name in effects.__all__
        if isinstance(kind := getattr(effects, name), type) and issubclass(kind, effects.Effect)
    }
    assert kinds - {"Effect", "Group"} == EFFECTS
