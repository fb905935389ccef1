"""Whole messages, as a person sees them."""

from __future__ import annotations

import pytest

from raftoral._assets import asset
from raftoral.lang.compile import Source, compile_source
from raftoral.lang.render import render_all


def shown(text: str) -> str:
    """Return everything that is said about a text."""
    compiled = compile_source(Source("order.rwf", text))
    return render_all(compiled.diagnostics, compiled.source)


def test_a_misspelt_clause_is_marked_where_it_stands() -> None:
    """The caret is under the word that was meant otherwise, with the word to write."""
    text = """activity a.b() -> int timeout 1s
workflow w version 1 () -> int {
  compute x = a.b()
    retry 5 backof 200ms..10s
  return x
}
"""
    assert shown(text) == (
        "error[RWF0003]: `backof` is not a clause or statement\n"
        " --> order.rwf:4:13\n"
        "  |\n"
        "4 |     retry 5 backof 200ms..10s\n"
        "  |             ^^^^^^ did you mean `backoff`?\n"
        "  |\n"
        "  = help: replace it: `backoff`\n"
        "  = note: read as a name, this line would have to continue `backof = ...`\n"
        "\n"
    )


def test_a_second_place_explains_the_first() -> None:
    """An unknown name shows where the name that was probably meant is declared."""
    text = """activity a.b() -> int timeout 1s

workflow w version 1 () -> int {
  compute payment = a.b()


  return paymnet
}
"""
    assert shown(text) == (
        "error[RWF0201]: cannot find `paymnet` in workflow w\n"
        " --> order.rwf:7:10\n"
        "  |\n"
        "4 |   compute payment = a.b()\n"
        "  |           ------- `payment` is declared here\n"
        "..\n"
        "7 |   return paymnet\n"
        "  |          ^^^^^^^ did you mean `payment`?\n"
        "\n"
    )


def test_two_currencies_are_shown_side_by_side() -> None:
    """Both sides of a sum carry their currency, and the reason is given."""
    text = """workflow w version 1 (price: money<EUR>) -> money<EUR> {
  return price + 20.00USD
}
"""
    assert shown(text) == (
        "error[RWF0214]: these amounts are in different currencies\n"
        " --> order.rwf:2:10\n"
        "  |\n"
        "2 |   return price + 20.00USD\n"
        "  |                  -------- this side is USD\n"
        "  |          ^^^^^ this side is EUR\n"
        "  |\n"
        "  = help: convert by an activity and let the result be recorded\n"
        "  = note: a workflow has no exchange rate; a rate changes, so a replay could not repeat\n"
        "\n"
    )


def test_a_missing_brace_is_blamed_by_indentation() -> None:
    """The block that was meant to end is named, not the end of the file."""
    text = """workflow w version 1 (id: string) -> string {
  if id == "x" {
    log "special"

  log "all"
  return id
}
"""
    assert shown(text) == (
        "error[RWF0004]: this block is never closed\n"
        " --> order.rwf:2:16\n"
        "  |\n"
        '2 |   if id == "x" {\n'
        "  |                ^ opened here\n"
        "..\n"
        '5 |   log "all"\n'
        "  |   - the indentation says it should have ended before this\n"
        "  |\n"
        "  = help: add `}` on its own line above\n"
        "\n"
    )


def test_a_tab_does_not_move_the_caret() -> None:
    """The line under a line with tabs has the same tabs."""
    assert "\n1 | \tworklow x\n  | \t^^^^^^^ did you mean `workflow`?\n" in shown("\tworklow x\n")


def test_a_source_cannot_command_the_terminal() -> None:
    """Control characters of a source are shown as one sign each, so that the caret stays right."""
    said = shown('workflow w version 1 () { log "\x1b[2J" nothing }\n')
    assert "\x1b" not in said
    assert '1 | workflow w version 1 () { log "\ufffd[2J" nothing }' in said


def test_every_snippet_gets_its_own_message() -> None:
    """A labelled snippet in grammar/errors is recognised as the slip that it shows."""
    files = sorted((asset("grammar") / "errors").glob("*.rwf"))
    assert len(files) >= 20
    for path in files:
        text = path.read_text()
        says = next(line for line in text.splitlines() if line.startswith("# says: "))
        compiled = compile_source(Source(path.name, text))
        first = compiled.diagnostics[0]
        assert (first.code, first.message) == ("RWF0005", says.removeprefix("# says: ")), path.name


def test_no_message_speaks_of_a_terminal_of_the_grammar() -> None:
    """Words in capitals that only the grammar knows never reach a person."""
    for text in ("workflow", "workflow w version", "record A {", "fn f(x:", "const A = (1 +", "}"):
        said = shown(text)
        assert said
        for word in ("RPAR", "LBRACE", "UNAME", "NAME", "__ANON", "$END", "Token("):
            assert word not in said


@pytest.mark.parametrize(
    ("condition", "mends"),
    [
        ("price > 50", "an amount has its currency: `9.99EUR`"),
        ("3.5 <= any_price", "an amount has its currency: `9.99EUR`"),
        ("tip + 1 > tip", "an amount has its currency: `9.99CHF`"),
        ("span < 90", "a duration has its units: `90s`, `1h30m`"),
        ("price * price == price", ""),
        ("count // span > 1", ""),
    ],
)
def test_a_bare_number_is_told_what_it_lacks(condition: str, mends: str) -> None:
    """A number beside an amount or a duration is an amount or a duration that lacks its unit."""
    text = (
        "workflow w version 1 (price: money<EUR>, tip: money<CHF>, any_price: money,\n"
        f'  span: duration, count: int) {{\n  if {condition} {{ log "x" }}\n}}\n'
    )
    said = shown(text)
    assert said.count("error[RWF0213]") == 1
    assert [line.strip() for line in said.splitlines() if "= help" in line] == (
        [f"= help: {mends}"] if mends else []
    )
