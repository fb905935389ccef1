"""Laws of the canonical layout, over everything in this project that parses."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral._assets import asset
from raftoral.lang import grammar
from raftoral.lang.compile import compile_source
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.format import FIELDS, LISTS, MEMBERS, WIDTH, format_source
from raftoral.lang.source import Source
from tests.lang.test_evaluate import EFFECTS, FAILING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
_SKIPPED = re.compile(r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|(#[^\n]*)')


def formatted(text: str) -> str | None:
    """Return the canonical text, or None for a text that does not parse."""
    return format_source(Source("x.rwf", text).clean(), Diagnostics())


def sources() -> Iterator[tuple[str, str]]:
    """Every text of this project that parses, by a name for people."""
    yield "effects", EFFECTS
    yield "failing", FAILING
    for folder in (asset("workflows"), asset("grammar"), HERE, HERE.parent / "repl"):
        for path in sorted(folder.rglob("*.rwf")):
            yield f"{path.parent.name}/{path.stem}", re.sub(r" *###.*", "", path.read_text())
    readme = (asset("grammar") / "README.md").read_text()
    for number, text in enumerate(re.findall(r"```rwf\n(.*?)```", readme, re.DOTALL)):
        yield f"reference {number}", text


CORPUS = {name: text for name, text in sources() if formatted(text) is not None}


@functools.cache
def parser() -> Any:
    """Return one parser for all tests: making one takes longer than most of them."""
    return grammar.build(None)


def read_tokens(text: str) -> list[Any]:
    """Return the tokens of a text as the parser reads them."""
    return list(parser().parse_interactive(text, start="start").iter_parse())


def tokens(text: str) -> list[str]:
    """Return the tokens of a text as they are written, without those commas that come and go."""
    return [str(token) for token in read_tokens(text) if token != ","]


def comments(text: str) -> list[str]:
    """Return the comments of a text, in their order."""
    return [one[1].rstrip() for one in _SKIPPED.finditer(text) if one[1]]


def without_comments(text: str) -> str:
    """Return a text without its comments."""
    return _SKIPPED.sub(lambda found: "" if found[1] else found[0], text)


def without_blanks(text: str) -> str:
    """Return a text without its empty lines."""
    return re.sub(r"\n\n+", "\n", text)


def test_the_corpus_is_large_enough() -> None:
    """The laws below are about dozens of texts."""
    assert len(CORPUS) > 40


@pytest.mark.parametrize("name", CORPUS)
def test_nothing_is_lost(name: str) -> None:
    """Formatting keeps every token but commas, and every comment, in their order."""
    text = CORPUS[name]
    found = formatted(text)
    assert found is not None
    assert tokens(found) == tokens(text)
    assert comments(found) == comments(text)


@pytest.mark.parametrize("name", CORPUS)
def test_twice_is_once(name: str) -> None:
    """Formatting what is formatted changes nothing."""
    once = formatted(CORPUS[name])
    assert once is not None
    assert formatted(once) == once


@pytest.mark.parametrize("name", CORPUS)
def test_the_layout_of_the_author_does_not_matter(name: str) -> None:
    """Whatever blanks and line ends stand between the tokens, the answer is the same."""
    text = without_comments(CORPUS[name])
    chance = Random(name)
    words = list(map(str, read_tokens(text)))
    wanted = formatted(text)
    assert wanted is not None
    for _ in range(2):
        shaken = "".join(f"{word}{chance.choice([' ', chr(10), '  ', ' ', ' '])}" for word in words)
        assert formatted(shaken) == without_blanks(wanted)


@pytest.mark.parametrize("name", CORPUS)
def test_comments_anywhere_are_kept(name: str) -> None:
    """A comment between any two tokens, behind the first or on its own line, survives as it is."""
    text = CORPUS[name]
    chance = Random(name)
    places = [token.end_pos or 0 for token in read_tokens(text)]
    for _ in range(2):
        shaken = text
        for number, at in enumerate(sorted(chance.sample(places, min(6, len(places))))[::-1]):
            before = chance.choice([" ", "\n", "\n\n"])
            shaken = f"{shaken[:at]}{before}# {number}\n{shaken[at:]}"
        found = formatted(shaken)
        assert found is not None
        assert comments(found) == comments(shaken)
        assert tokens(found) == tokens(text)
        assert formatted(found) == found, shaken


@pytest.mark.parametrize("name", CORPUS)
def test_the_meaning_stays(name: str) -> None:
    """A formatted text compiles to the same meaning, or has the same mistakes."""
    before = compile_source(Source("x.rwf", CORPUS[name]))
    found = formatted(CORPUS[name])
    assert found is not None
    after = compile_source(Source("x.rwf", found))
    assert [one.code for one in before.diagnostics] == [one.code for one in after.diagnostics]
    assert [one.meaning_hash for one in before.units] == [one.meaning_hash for one in after.units]


@pytest.mark.parametrize("name", CORPUS)
def test_lines_fit(name: str) -> None:
    """No line is wider than it must be: 100 columns, but for a text that no break can shorten."""
    found = formatted(without_comments(CORPUS[name]))
    assert found is not None
    for line in found.splitlines():
        assert len(line) <= WIDTH or '"' in line
        assert line == line.rstrip()


def test_what_the_project_ships_is_canonical() -> None:
    """The workflows to copy from look as `raftoral fmt` leaves them."""
    for path in sorted(asset("workflows").rglob("*.rwf")):
        assert formatted(path.read_text()) == path.read_text(), path


def test_the_formatter_knows_each_rule_with_an_optional_comma() -> None:
    """A rule that ends its list with `","?` is one where the formatter may write that comma."""
    rules = re.split(r"\n(?=[?!]*[a-z_]+ *:)", grammar.grammar_text())
    optional = set()
    for rule in rules:
        name = re.match(r"[?!]*([a-z_]+) *:", rule)
        for line in rule.split("\n") if name else []:
            if '","?' in line:
                alias = re.search(r"-> (\w+)", line)
                optional.add(alias[1] if alias else name[1])  # type: ignore[index]
    assert optional == LISTS | MEMBERS


def test_braces_of_fields_are_those_of_the_grammar() -> None:
    """Every rule whose braces hold fields is laid out as fields."""
    members = "|".join(MEMBERS)
    found = re.findall(rf"^[?!]*(\w+):.*\b(?:{members})\*", grammar.grammar_text(), re.MULTILINE)
    assert set(found) == set(FIELDS)


def test_a_broken_text_is_reported() -> None:
    """What does not parse is not touched: there is a report instead of a text."""
    diagnostics = Diagnostics()
    source = Source("x.rwf", "workflow w version 1 () { let = 1 }")
    assert format_source(source, diagnostics) is None
    assert [one.code for one in diagnostics.all()] == ["RWF0001"]


def test_deep_texts_are_formatted() -> None:
    """No nesting needs a deep stack."""
    for text in (
        "const A = " + "(" * 250 + "1" + ")" * 250,
        "const A = " + "not " * 1500 + "true",
        "const A = " + "1 + " * 1500 + "1",
        "const A = a" + ".b" * 1500,
        "record R { a: " + "list<" * 1500 + "int" + ">" * 1500 + " }",
        "fn f() -> int {" + " if true {" * 250 + " return 1" + " }" * 251,
    ):
        found = formatted(text)
        assert found is not None
        assert formatted(found) == found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("const A = " + "(" * 300, "RWF0403"),
        ("# " + "x" * 300_000, "RWF0404"),
        ('"' * 60_000, "RWF0404"),
    ],
)
def test_what_is_not_read_is_not_formatted(text: str, code: str) -> None:
    """The bounds of a source are those of the layout: what is beyond them is not even parsed."""
    diagnostics = Diagnostics()
    assert format_source(Source("x.rwf", text), diagnostics) is None
    assert [one.code for one in diagnostics.all()] == [code]
