"""What the pages say of the tests is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from pkgutil import resolve_name

import raftoral

TESTS = Path(__file__).parent
PACKAGE = Path(raftoral.__file__).parent
_NAMED = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")
_DOTTED = re.compile(r"`(?:raftoral\.)?([a-z_]+(?:\.[A-Za-z_]+)+)`")


def test_every_test_that_the_table_names_is_there() -> None:
    """Each scenario of the README stands beside tests that exist, so the table cannot rot."""
    named = _NAMED.findall((TESTS / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 25
    for path, name in named:
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in found, f"{path} has no {name}"


def test_every_module_that_the_architecture_names_is_there() -> None:
    """What the walks, the invariants and the decisions name by its dotted name can be looked up."""
    page = (TESTS.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = [name for name in _DOTTED.findall(page) if (PACKAGE / name.split(".")[0]).is_dir()]
    assert len(named) > 50
    for name in named:
        resolve_name(f"raftoral.{name}")
