"""The reference and the examples are programs, not promises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from raftoral._assets import asset
from raftoral.lang.builtins import NAMES
from raftoral.lang.compile import Source, compile_source
from raftoral.lang.definitions import ERRORS
from raftoral.lang.grammar import HARD, keywords
from raftoral.lang.render import render_all
from raftoral.registry.files import beside
from raftoral.testing import run_trial

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = (asset("grammar") / "README.md").read_text()
EXAMPLES = sorted(asset("workflows").rglob("*.rwf"))
SNIPPETS = re.findall(r"```rwf\n(.*?)```", REFERENCE, re.DOTALL)


@pytest.mark.parametrize("text", SNIPPETS)
def test_every_example_of_the_reference_compiles(text: str) -> None:
    """What the reference shows is accepted, without even a warning, and its tests hold."""
    compiled = compile_source(Source("README.rwf", text))
    assert render_all(compiled.diagnostics, compiled.source) == ""
    for trial in compiled.trials:
        assert run_trial(trial, compiled).wrong == (), trial.title


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_workflow_compiles(path: Path) -> None:
    """What a newcomer copies is accepted, without even a warning."""
    compiled = compile_source(Source(path.name, path.read_text()), beside(path))
    assert render_all(compiled.diagnostics, compiled.source) == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_its_own_tests(path: Path) -> None:
    """The test blocks of the examples hold, in runs on the engine's own rules."""
    compiled = compile_source(Source(path.name, path.read_text()), beside(path))
    for trial in compiled.trials:
        assert run_trial(trial, compiled).wrong == (), trial.title


def test_the_reference_names_every_word() -> None:
    """Keywords, built-ins, built-in errors and reserved words all stand in the reference."""
    words = set(re.findall(r"[A-Za-z_]+", REFERENCE))
    assert not (keywords() | NAMES | ERRORS) - words


def test_the_reference_says_which_words_name_no_value() -> None:
    """The two lists of words are those that the checker has."""
    told = REFERENCE.split("These words name no value: ")[1].split(" All may name")[0]
    hard, soft = told.split("These can, where it is never assigned: ")
    assert set(re.findall(r"\w+", hard)) == HARD
    assert set(re.findall(r"\w+", soft)) == keywords() - HARD


def code_lines(path: Path) -> int:
    """Return the lines of definitions and workflows, as the table of patterns counts them."""
    text = path.read_text().split('\ntest "')[0]
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines()
    )


def test_the_table_of_patterns_is_true() -> None:
    """Every pattern stands in the table with its file and the lines that it takes."""
    page = (asset("workflows") / "README.md").read_text()
    patterns = [path for path in EXAMPLES if path.parent.name == "patterns"]
    assert len(patterns) == 25
    for path in patterns:
        number = int(path.name[:2])
        row = rf"\| {number} \| .* \| \[{path.name}\]\(patterns/{path.name}\) \| {code_lines(path)} \|"
        assert re.search(row, page), path.name
