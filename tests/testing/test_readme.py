"""The tests that the README shows pass as they stand there."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from raftoral.registry.apps import load_file
from raftoral.testing import run
from raftoral.values import Money

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the README's example, beside those of the order that it is about."""
    texts = _CODE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    (text,) = [one for one in texts if "raftoral.testing" in one]
    monkeypatch.setattr(sys, "path", [str(ROOT / "workflows"), *sys.path])
    app = load_file(ROOT / "workflows" / "order.py")
    names: dict[str, Any] = dict(vars(app))
    price = Money(Decimal("4.50"), "EUR")
    names["SMALL"] = app.Order("o-1", "4000", [app.Item(sku="tea", qty=2, price=price)])
    names["LARGE"] = app.Order("o-2", "4000", [app.Item(sku="tea", qty=200, price=price)])
    exec(compile(text, "README.md", "exec"), names)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "histories").mkdir()
    run(app.order, names["SMALL"], mocks=names["MOCKS"]).save("histories/o-7719.rhx")
    return names


def test_the_tests_of_the_readme_pass(shown: dict[str, Any]) -> None:
    """Each function of the page is a test that passes."""
    tests = [name for name in shown if name.startswith("test_")]
    assert len(tests) == 3
    for name in tests:
        shown[name]()
