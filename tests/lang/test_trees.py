"""Trees made by chance: what is written of them is read as them, also after it was laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftoral.lang import ast
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.format import format_source
from raftoral.lang.parse import parse
from raftoral.lang.read import read
from raftoral.lang.source import Source
from tests.lang.trees import _WRITERS, Maker, bare, write

if TYPE_CHECKING:
    from collections.abc import Callable


@st.composite
def trees(draw: Callable[[st.SearchStrategy[int]], int]) -> ast.File:
    """Return files made of every kind of node."""
    return Maker(lambda n: draw(st.integers(0, n - 1))).file()


def read_back(text: str) -> ast.File:
    """Return the tree of a text that must parse."""
    diagnostics = Diagnostics()
    tree = parse(Source("x.rwf", text).clean(), diagnostics)
    assert tree is not None, (text, diagnostics.all())
    return tree


def check(tree: ast.File) -> None:
    """Write a tree, read it, lay it out, read that, and check it for what it means."""
    text = write(tree)
    assert bare(read_back(text)) == bare(tree), text
    laid = format_source(Source("x.rwf", text).clean(), Diagnostics())
    assert laid is not None
    assert bare(read_back(laid)) == bare(tree), laid
    assert format_source(Source("x.rwf", laid), Diagnostics()) == laid
    said = read(Source("x.rwf", laid))
    assert (
        said.diagnostics.has_errors
        or said.units
        or not any(
            isinstance(item, ast.WorkflowDef) and item.block is not None for item in tree.items
        )
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees())
def test_what_is_written_of_a_tree_is_read_as_it(tree: ast.File) -> None:
    """Parsing, and laying out and parsing again, give the tree; checking it never raises."""
    check(tree)


def test_every_kind_of_node_can_be_written() -> None:
    """No node of the tree is left out of this test."""
    unwritten = {"Arm", "Backoff", "Catch", "Fan"}  # parts of others
    kinds = {name for name in ast.__all__ if isinstance(getattr(ast, name), type)}
    assert kinds - {kind.__name__ for kind in _WRITERS} == unwritten
