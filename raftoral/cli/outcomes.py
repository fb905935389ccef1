"""The outcomes of tests for programs: TAP for harnesses, JUnit's XML for CI servers; coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from raftoral.lang.render import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raftoral.cli.testing import Tested, Tried
    from raftoral.testing import Covered


def tap(done: Sequence[Tested]) -> str:
    """Return the outcomes in the Test Anything Protocol, version 14; a broken file is one failure.

    Source: https://testanything.org/tap-version-14-specification.html
    """
    lines = ["TAP version 14", f"1..{sum(len(one.tried) or bool(one.broken) for one in done)}"]
    number = 0
    for one in done:
        if not one.tried and not one.broken:
            lines.append(f"# {one.path}: no tests")
        for title, failure in _outcomes(one):
            number += 1
            state = "not ok" if failure else "ok"
            lines.append(f"{state} {number} - {_escaped(f'{one.path}: {title}')}")
            lines += [f"# {line}".rstrip() for line in failure.splitlines()]
        lines += [f"# {one.path}: {coverage_line(each)}" for each in one.covered]
    return "".join(f"{harmless(line)}\n" for line in lines)


def _escaped(title: str) -> str:
    """Return a title whose signs are no directive of TAP."""
    return title.replace("\\", "\\\\").replace("#", "\\#")


def junit(done: Sequence[Tested]) -> str:
    """Return the outcomes as JUnit's XML, as CI servers read it; a broken file is an error."""
    tried = [each for one in done for each in one.tried]
    broken = sum(1 for one in done if one.broken)
    root = _node(None, "testsuites", len(tried) + broken, sum(bool(t.wrong) for t in tried), broken)
    for one in done:
        failed = sum(bool(each.wrong) for each in one.tried)
        count = len(one.tried) or int(bool(one.broken))
        suite = _node(root, "testsuite", count, failed, int(bool(one.broken)))
        suite.set("name", harmless(one.path))
        for title, failure in _outcomes(one):
            case = Xml.SubElement(suite, "testcase", classname=harmless(one.path))
            case.set("name", harmless(title))
            if failure:
                kind = "error" if one.broken else "failure"
                text = "\n".join(map(harmless, failure.splitlines()))
                Xml.SubElement(case, kind, message=text.split("\n")[0]).text = text
        if one.covered:
            Xml.SubElement(suite, "system-out").text = "\n".join(map(coverage_line, one.covered))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True)


def _node(
    parent: Xml.Element | None, name: str, tests: int, failed: int, broken: int
) -> Xml.Element:
    counts = {"tests": str(tests), "failures": str(failed), "errors": str(broken)}
    return Xml.Element(name, counts) if parent is None else Xml.SubElement(parent, name, counts)


def _outcomes(one: Tested) -> Iterator[tuple[str, str]]:
    """Yield the name of each test and what is wrong with it, empty if nothing is."""
    if one.broken:
        yield "the file has mistakes", one.broken
    for each in one.tried:
        yield each.title, _failure(each)


def _failure(tried: Tried) -> str:
    return "\n".join(f"{place}\n{seen}" for place, seen in tried.wrong)


def coverage_line(one: Covered) -> str:
    """Return what of a workflow was reached and what was not, by lines, on one line."""
    told = f"{one.name} version {one.version}: {one.reached} of {one.statements} statements reached"
    if one.missed:
        told += f", not {_lines_of(_ranges(one.missed), len(one.missed))}"
    if one.branches:
        told += f"; {one.taken} of {one.branches} branches taken"
    if one.skipped:
        places = ", ".join(f"{line} ({word})" for line, word in one.skipped)
        told += f", not {_lines_of(places, len(one.skipped))}"
    return told


def _lines_of(numbers: str, count: int) -> str:
    return f"{'line' if count == 1 else 'lines'} {numbers}"


def _ranges(lines: Sequence[int]) -> str:
    """Return sorted numbers as `3, 5-7`."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][-1] + 1:
            found[-1] = [found[-1][0], line]
        else:
            found.append([line])
    return ", ".join("-".join(map(str, one)) for one in found)
