"""`--app`: what is said of an application that cannot be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral.errors import DefinitionRefused, UsageError
from raftoral.registry.apps import load_app

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = {
    "divides": ("import json\n\nx = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
    "reads": ("import json\njson.loads('{')\n", 2, "JSONDecodeError: Expecting"),
    "calls": (
        "from raftoral import Registry\n\nregistry = Registry(workflow=[])\n",
        3,
        "TypeError: Registry",
    ),
    "opens": ("x = 1\nprint(\n", 2, "SyntaxError: '(' was never closed"),
    "lacks": ("import not_there_at_all\n", 1, "ModuleNotFoundError: No module named"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_application_that_fails_is_told_with_its_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the user's own code names the file and the line of that code, not of a library's."""
    text, line, why = BROKEN[name]
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    monkeypatch.chdir(tmp_path)
    for spec in (f"{path}:registry", f"{name}:registry"):
        with pytest.raises(UsageError) as told:
            load_app(spec)
        place = spec.removesuffix(":registry")
        assert str(told.value).startswith(f"--app: {place} fails at {path}:{line}: {why}")


def test_a_workflow_that_is_refused_is_told_as_ever(tmp_path: Path) -> None:
    """What the lint refuses has its own report, with the line in it."""
    path = tmp_path / "clock.py"
    path.write_text(
        "import time\n\nfrom raftoral import Flow, Registry, Sleep, workflow\n\n\n"
        "@workflow('w', version=1)\ndef w() -> Flow[None]:\n    time.time()\n"
        "    yield from Sleep('1s')\n\n\nregistry = Registry(workflows=[w])\n"
    )
    with pytest.raises(DefinitionRefused, match="RPY10"):
        load_app(f"{path}:registry")
