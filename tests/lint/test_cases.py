"""Every report of the lint, on the line where it belongs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

import pytest

from raftoral.lint.check import Checked, Checker, check_paths

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.rglob("*.py"))
_EXPECTED = re.compile(r"### (RPY\d{2}): ((?:(?!###).)*)")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checked]:
    """All cases without their expectations, and what was found in them."""
    folder = tmp_path_factory.mktemp("lint") / "cases"
    copytree(CASES, folder)
    for path in folder.rglob("*.py"):
        # Lines and columns do not move.
        path.write_text(re.sub(r" *###.*", "", path.read_text()))
    return folder, check_paths([folder])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_line_gets_the_reports_that_it_names(
    path: Path, checked: tuple[Path, Checked]
) -> None:
    """A mistake is reported on its line, by its code and message, and nothing else is."""
    wanted = [
        (number, code, words.strip())
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for code, words in _EXPECTED.findall(line)
    ]
    mine = str(checked[0] / path.relative_to(CASES))
    found = [
        (report.source.place(one.span.start)[0], one.code, one.message)
        for report in checked[1].reports
        for one in report.diagnostics
        if report.source.path == mine
    ]
    missing = [w for w in wanted if not any(_is(w, have) for have in found)]
    surplus = [have for have in found if not any(_is(w, have) for w in wanted)]
    assert (missing, surplus) == ([], [])
    assert len(found) == len(wanted)


def _is(wanted: tuple[int, str, str], found: tuple[int, str, str]) -> bool:
    return wanted[:2] == found[:2] and found[2].startswith(wanted[2])


def test_a_helper_in_another_file_names_who_calls_it(checked: tuple[Path, Checked]) -> None:
    """A report in a file without workflows says by what way a workflow came there."""
    (note,) = {
        one.notes
        for report in checked[1].reports
        for one in report.diagnostics
        if report.source.path.endswith("clocks.py") and one.message.startswith("`time.time`")
    }
    assert note == ("`stamp` is called from `order` (orders.py:15)",)


def test_the_workflows_of_a_file_are_found(checked: tuple[Path, Checked]) -> None:
    """Every decorated function is checked, and nothing else counts as a workflow."""
    assert {"clean", "bare", "clocks", "order", "waits"} <= set(checked[1].workflows)
    assert "helper" not in checked[1].workflows


@pytest.mark.parametrize("name", ["contextlib", "dataclasses", "inspect", "asyncio.tasks"])
def test_any_function_can_be_read(name: str) -> None:
    """Code that is nothing like a workflow is read as if it were one, without an exception."""
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    checker = Checker()
    module = checker._project.module_at(Path(found.origin))
    for function in module.functions:
        checker._waiting.append((function, True, ()))
    checker._work()
    assert len(checker._read) >= len(module.functions)
    assert checker.checked().has_errors


def test_a_module_that_imports_itself_is_read(tmp_path: Path) -> None:
    """Imports in a circle end in a name that nobody can look into."""
    path = tmp_path / "loopy.py"
    path.write_text(
        "import loopy\n"
        "from loopy import a, b as b\n"
        "from raftoral import Flow, Log, workflow\n"
        "x = loopy.y\n"
        "y = loopy.x\n"
        '@workflow("l", version=1)\n'
        "def l() -> Flow[None]:\n"
        '    yield from Log("x")\n'
        "    loopy.loopy.a(b, x, y)\n"
    )
    (report,) = check_paths([path]).reports
    assert {one.code for one in report.diagnostics} == {"RPY14"}
