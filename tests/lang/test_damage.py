"""Damaged, deep and huge texts: always reports, never a crash, never a hang."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftoral._assets import asset
from raftoral.lang.compile import Source, compile_source
from raftoral.lang.render import render_all
from tests.lang.damage import damaged
from tests.lang.driving import Drive
from tests.lang.test_evaluate import EFFECTS, FAILING

SAMPLES = [(asset("workflows") / "order.rwf").read_text(), EFFECTS, FAILING]


def said(text: str) -> tuple[bool, str]:
    """Compile a text; return whether it has errors, and everything that is said."""
    compiled = compile_source(Source("x.rwf", text))
    has_body = re.search(r"workflow[^{]*\{", text) is not None  # without one it is a contract
    assert compiled.has_errors or compiled.units or not has_body
    return compiled.has_errors, render_all(compiled.diagnostics, compiled.source)


def test_damaged_programs_are_explained() -> None:
    """One to three edits of a good program give a few reports or a good program."""
    chance = Random(7)
    counts = []
    for _ in range(600):
        wrong, words = said(damaged(chance.choice(SAMPLES), chance))
        if wrong:
            counts.append(words.count("error["))
    assert sum(count <= 4 for count in counts) > 0.75 * len(counts)


def test_cut_programs_are_explained() -> None:
    """A program that ends anywhere is reported unless it happens to be whole."""
    for sample in SAMPLES:
        for end in range(0, len(sample), 7):
            said(sample[:end])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    """No text at all makes the compiler raise."""
    compile_source(Source("x.rwf", text))
    compile_source(Source("x.rwf", f"workflow w version 1 () {{ log {text} }}"))
    compile_source(Source("x.rwf", f'workflow w version 1 () {{ log "{text}" }}'))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_answered(data: bytes) -> None:
    """A file that is no text is reported like any other."""
    compile_source(Source.from_bytes("x.rwf", data))


def test_a_chain_of_functions_is_bounded() -> None:
    """Functions that call each other a thousand deep are refused, not overflowed at run time."""
    chain = "".join(f"fn f{n}(x: int) -> int {{ return f{n + 1}(x) }}\n" for n in range(1000))
    text = (
        chain + "fn f1000(x: int) -> int { return x }\nworkflow w version 1 () { log text(f0(1)) }"
    )
    compiled = compile_source(Source("x.rwf", text))
    assert [one.code for one in compiled.diagnostics] == ["RWF0403"]


def test_what_is_just_allowed_compiles_and_runs() -> None:
    """The deepest blocks, expressions and calls that pass the checks need no deeper stack."""
    calls = "fn f(x: int) -> int { return x + 1 }\n"
    deep = "f(" * 60 + "1" + ")" * 60
    blocks = "if true { " * 30
    text = calls + f"workflow w version 1 () {{ {blocks} log text({deep}) {'}' * 31}"
    assert Drive(text).result() is None
    chain = "".join(f"fn f{n}(x: int) -> int {{ return f{n + 1}(x) }}\n" for n in range(30))
    text = chain + "fn f30(x: int) -> int { return x }\nworkflow w version 1 () { log text(f0(1)) }"
    assert Drive(text).result() is None


@pytest.mark.parametrize(
    "text",
    [
        "record R { x: int }\nhas workflow w version 1 () {\n  signal s(x: int)\n}\n",
        "record R { x: int\nif {\nlet x = 1\n}\n",
        "record R { x: 3 {\nlet x = 1\n}\n",
    ],
)
def test_reading_goes_on_behind_a_broken_record(text: str) -> None:
    """A field may be called `let`, so a record is no block in which a statement may follow."""
    assert said(text)[0]
