"""Which cases of a `match` are reached, and whether all values are: by trying every value there is."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from raftoral.lang.compile import compile_source
from raftoral.lang.source import Source
from tests.lang.worlds import world

if TYPE_CHECKING:
    from collections.abc import Callable

    Takes: TypeAlias = "Callable[[Any], bool]"

HEAD = """
record Pair { left: bool  right: Color? }
enum Color { Red Green Mixed(a: bool, b: bool) }
"""
COLORS = [
    "Red",
    "Green",
    *(["Mixed", {"a": a, "b": b}] for a, b in product([True, False], repeat=2)),
]
VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "bool?": [None, True, False],
    "Color": COLORS,
    "Color?": [None, *COLORS],
    "Pair": [{"left": a, "right": b} for a, b in product([True, False], [None, *COLORS])],
    "int": [0, 1, 2, 3],
}
CASES = {"Red": {}, "Green": {}, "Mixed": {"a": "bool", "b": "bool"}}


def pattern(kind: str, choose: Callable[[int], int], depth: int = 0) -> tuple[str, Takes]:
    """Return a pattern for values of a type as text, and the test that it stands for."""
    way = choose(7)
    if way == 0 or depth > 3:
        return "_", lambda value: True
    if way == 1 and depth < 2:
        some = [pattern(kind, choose, depth + 2) for _ in range(2)]
        text = " | ".join(one for one, _ in some)
        return text, lambda value: any(test(value) for _, test in some)
    if kind.endswith("?"):
        if way == 2:
            return "none", lambda value: value is None
        return pattern(kind[:-1], choose, depth)
    if kind == "bool":
        wanted = bool(choose(2))
        return str(wanted).lower(), lambda value: value is wanted
    if kind == "int":
        number = choose(3)
        return str(number), lambda value: value == number
    if kind == "Pair":
        text, inside = fields({"left": "bool", "right": "Color?"}, choose, depth)
        return f"Pair{text}", inside
    name = list(CASES)[choose(3)]
    text, inside = fields(CASES[name], choose, depth)
    if name != "Mixed":
        return f"Color.{name}", lambda value: value == name
    return f"Color.Mixed{text}", lambda value: type(value) is list and inside(value[1])


def fields(kinds: dict[str, str], choose: Callable[[int], int], depth: int) -> tuple[str, Takes]:
    """Return the patterns of some fields."""
    some = {name: pattern(kind, choose, depth + 1) for name, kind in kinds.items() if choose(3)}
    if not some:
        return "", lambda value: True
    text = ", ".join(f"{name}: {one}" for name, (one, _) in some.items())
    return f"({text})", lambda value: all(test(value[name]) for name, (_, test) in some.items())


@pytest.mark.parametrize("seed", range(150))
def test_the_checker_sees_what_trying_all_values_shows(seed: int) -> None:
    """A case is reported exactly if no value reaches it, a `match` exactly if one has no case."""
    chance = Random(seed)
    kind = chance.choice(list(VALUES))
    cases = [pattern(kind, chance.randrange) for _ in range(1 + chance.randrange(6))]
    left, dead = list(VALUES[kind]), set()
    for number, (_, test) in enumerate(cases):
        if not any(test(value) for value in left):
            dead.add(number)
        left = [value for value in left if not test(value)]
    body = "\n".join(f"case {text} {{ return {n} }}" for n, (text, _) in enumerate(cases))
    text = f"{HEAD}\nworkflow w version 1 (x: {kind}) -> int {{ match x {{\n{body}\n}} }}"
    source = Source("x.rwf", text)
    found = compile_source(source)
    first = text[: text.index("case ")].count("\n") + 1
    told = {source.place(d.span.start)[0] - first for d in found.diagnostics if d.code == "RWF0231"}
    assert told == dead, text
    assert ("RWF0230" in {d.code for d in found.diagnostics}) == bool(left), text
    if not dead and not left:
        for value in VALUES[kind]:
            made = world(text, {"x": value})
            made.run()
            wanted = next(n for n, (_, test) in enumerate(cases) if test(value))
            assert made.result() == wanted, text
