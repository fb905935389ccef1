"""Every report of the compiler, on the line where it belongs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raftoral.lang.compile import compile_source
from raftoral.lang.source import Source
from raftoral.registry.files import beside

FILES = sorted((Path(__file__).parent / "errors").glob("*.rwf"))
_EXPECTED = re.compile(r"### (RWF\d{4}): ((?:(?!###).)*)")


def stripped(text: str) -> str:
    """Return the text without the expectations, its lines and columns unmoved."""
    return re.sub(r" *###.*", "", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_line_gets_the_reports_that_it_names(path: Path) -> None:
    """A mistake is reported on its line, by its code and message, and nothing else is."""
    text = path.read_text()
    wanted = []
    for number, line in enumerate(text.splitlines(), 1):
        wanted += [(number, code, words.strip()) for code, words in _EXPECTED.findall(line)]
    compiled = compile_source(Source(path.name, stripped(text)), beside(path))
    found = [
        (compiled.source.place(one.span.start)[0], one.code, one.message)
        for one in compiled.diagnostics
    ]
    missing = [w for w in wanted if not any(_is(w, have) for have in found)]
    surplus = [have for have in found if not any(_is(w, have) for w in wanted)]
    assert (missing, surplus) == ([], [])
    assert len(found) == len(wanted)


def _is(wanted: tuple[int, str, str], found: tuple[int, str, str]) -> bool:
    return wanted[:2] == found[:2] and found[2].startswith(wanted[2])


def test_there_are_enough_cases() -> None:
    """Each kind of mistake has its file."""
    assert len(FILES) >= 70
