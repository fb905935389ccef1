"""Branch coverage: the ways that are listed are those that runs take."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from raftoral._assets import asset
from raftoral.errors import WorkflowFailed
from raftoral.lang import ast
from raftoral.lang.branches import statements, ways
from raftoral.lang.compile import compile_source
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.evaluate.notes import Notes
from raftoral.lang.evaluate.program import Program, load
from raftoral.lang.evaluate.run import begin
from raftoral.lang.parse import parse
from raftoral.lang.source import Source
from raftoral.registry.files import beside
from raftoral.testing import Coverage, run_trial

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(asset("workflows").rglob("*.rwf"))


def bodies(text: str) -> list[list[ast.Stmt]]:
    """Return the statements of each workflow of a text, in the order of the text."""
    tree = parse(Source("x.rwf", text), Diagnostics())
    assert tree is not None
    found = [one for one in tree.items if isinstance(one, ast.WorkflowDef) and one.block]
    return [statements(one.block) for one in found if one.block is not None]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_runs_take_is_listed(path: Path) -> None:
    """Statements are numbered as the program numbers them, and no run takes a way that is not there."""
    source = Source(path.name, path.read_text())
    compiled = compile_source(source, beside(path))
    coverage = Coverage(compiled)
    for trial in compiled.trials:
        assert run_trial(trial, compiled, coverage=coverage).passed
    for unit, body, covered in zip(
        compiled.units, bodies(compiled.source.text), coverage.covered(), strict=True
    ):
        lines = load(unit.ir).unit.spans[::2]
        assert len(body) == len(lines)
        assert [compiled.source.place(one.span.start)[0] for one in body] == list(lines)
        taken = coverage.notes[unit.ir].taken
        assert taken <= {(n, w) for n, one in enumerate(body) for w, _ in enumerate(ways(one))}
        assert covered.taken + len(covered.skipped) == covered.branches


def result_of(text: str, given: dict[str, Any], notes: Notes | None) -> Any:
    """Return what a workflow without effects results in."""
    (unit,) = compile_source(Source("x.rwf", text)).units
    flow = begin(Program(load(unit.ir).unit, notes), given).generator
    with pytest.raises(StopIteration) as end:
        next(flow)
    return end.value.value


LOOPS = """
workflow w version 1 (xs: list<int>, n: int) -> int {
  var seen = 0
  for x in xs { seen = seen + x }
  while seen < n max 3 { seen = seen + 1 }
  if seen > 1 { seen = 0 }
  require n < 9 else "many"
  return seen
}
"""


@pytest.mark.parametrize(
    ("xs", "n", "taken"),
    [
        ([], 0, {(1, 1), (3, 1), (5, 1), (7, 0)}),
        ([1], 0, {(1, 0), (3, 1), (5, 1), (7, 0)}),
        ([], 2, {(1, 1), (3, 0), (5, 0), (7, 0)}),
        ([9], 9, {(1, 0), (3, 1), (5, 0), (7, 1)}),
    ],
)
def test_what_is_skipped_is_a_way_too(xs: list[int], n: int, taken: set[tuple[int, int]]) -> None:
    """A loop without a turn, an `if` without its block and a `require` that fails are noted as such."""
    notes = Notes()
    with suppress(WorkflowFailed):
        result_of(LOOPS, {"xs": xs, "n": n}, notes)
    assert notes.taken == taken


def test_noting_uses_no_fuel() -> None:
    """A condition that is asked once more for the notes costs the run nothing."""
    text = """
fn slow(n: int) -> bool {
  var t = 0
  for i in range(50_000) { t = t + 1 }
  return t < n
}
workflow w version 1 () -> int {
  for i in range(4) { while slow(1) max 1 { return 0 } }
  return 1
}
"""
    assert [result_of(text, {}, notes) for notes in (None, Notes())] == [1, 1]
