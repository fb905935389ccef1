"""The names of the package: all there, and each loaded when it is asked for."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module

import raftoral


def test_every_public_name_is_what_type_checkers_are_told() -> None:
    """What is imported for type checkers is what a program gets, name by name."""
    told = {}
    for node in ast.walk(ast.parse(inspect.getsource(raftoral))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raftoral."):
            for alias in node.names:
                home = import_module(node.module or "")
                told[alias.asname or alias.name] = getattr(home, alias.name)
    assert sorted(told) == sorted(raftoral.__all__)
    for name, wanted in told.items():
        assert getattr(raftoral, name) is wanted, name


def test_a_command_does_not_wait_for_the_engine() -> None:
    """Importing the package imports none of its parts."""
    code = (
        "import raftoral, sys; print(sorted(n for n in sys.modules if n.startswith('raftoral.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
