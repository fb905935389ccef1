"""The page of each code proves itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import raftoral
from raftoral._assets import asset
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.format import format_source
from raftoral.lang.pages import Example, pages
from raftoral.lang.read import read
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.registry.apps import load_app
from raftoral.registry.contracts import breaches

if TYPE_CHECKING:
    from collections.abc import Iterable

LIBRARY = Path(raftoral.__file__).parent
TOO_LARGE = "# " + "x" * 300_000


def codes(example: Example, folder: Path) -> list[str]:
    """Return the codes that an example gets, those of its application too."""

    def load(path: str) -> Source | None:
        return Source(path, example.files[path]) if path in example.files else None

    found = read(Source("page.rwf", example.text or TOO_LARGE).clean(), load)
    reported = [one.code for one in found.diagnostics.all()]
    if "app.py" in example.files:
        path = folder / f"app_{abs(hash(example.files['app.py']))}.py"
        path.write_text(example.files["app.py"])
        registry = load_app(f"{path}:registry")
        reported += [one.code for unit in found.units for one in breaches(unit, registry)]
    return reported


@pytest.mark.parametrize("code", pages())
def test_the_wrong_example_gets_the_code_and_the_right_one_nothing(
    code: str, tmp_path: Path
) -> None:
    """What a page shows as wrong is reported by its code; what it shows as right is not reported."""
    wrong, right = pages()[code].examples
    assert code in codes(wrong, tmp_path)
    assert codes(right, tmp_path) == []


@pytest.mark.parametrize("code", pages())
def test_right_examples_are_canonical(code: str) -> None:
    """People copy from pages, so what is right is laid out as `raftoral fmt` does."""
    text = pages()[code].right
    assert format_source(Source("page.rwf", text), Diagnostics()) == text


def reportable() -> Iterable[str]:
    """Every code that stands in the library as a text of its own."""
    for folder in ("lang", "registry", "cli"):
        for path in (LIBRARY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield from re.findall(r"\ARWF\d{4}\Z", node.value)


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    """What can be reported can be explained, and nothing else is."""
    assert set(reportable()) == set(pages())


def test_the_reference_shows_a_report_as_it_is() -> None:
    """The report on the first page of the language is what the compiler says."""
    source = Source("price.rwf", pages()["RWF0214"].wrong).clean()
    said = render_all(read(source).diagnostics.all(), source).rstrip()
    assert f"```text\n{said}\n```" in (asset("grammar") / "README.md").read_text()


def test_a_page_is_short() -> None:
    """A page is read in the middle of something else: a title, a paragraph, two examples."""
    for page in pages().values():
        assert len(page.title) < 80
        assert len(page.why) < 420
        assert not page.title.endswith(".")
