"""Names and their uses, held against the checker: a name that is changed everywhere changes nothing."""

from __future__ import annotations

from random import Random

import pytest

from raftoral.lang import ast
from raftoral.lang.assist import Document
from raftoral.lang.diagnostics import Edit, Fix
from raftoral.lang.fixing import applied
from raftoral.lang.read import read
from raftoral.lang.source import Source
from tests.lang.test_format import CORPUS
from tests.lang.test_graph import EVERYTHING

SOUND = {
    name: text
    for name, text in {**CORPUS, "everything": EVERYTHING}.items()
    if "import" not in text and not read(Source("x.rwf", text).clean()).diagnostics.has_errors
}


def test_the_corpus_is_large_enough() -> None:
    """The law below is about many programs, with every kind of statement among them."""
    assert len(SOUND) > 12
    assert "everything" in SOUND


@pytest.mark.parametrize("name", SOUND)
def test_renaming_everywhere_changes_nothing(name: str) -> None:
    """A name of a program, changed at its declaration and all its uses, is as good as before."""
    document = Document("x.rwf", SOUND[name], lambda path: None)
    assert document.index is not None
    before = [one.code for one in document.read.diagnostics.all()]
    symbols = document.index.symbols
    if name != "everything":
        symbols = Random(name).sample(symbols, min(10, len(symbols)))
    for number, one in enumerate(symbols):
        if isinstance(one.node, ast.FieldPattern):
            continue  # `Done(output)` names a field and a value at once
        fresh = f"zz.fresh_{number}" if "." in one.name else f"zz_fresh_{number}"
        fresh = f"_{fresh}" if one.name[0] == "_" else fresh
        fresh = f"ZZ_FRESH_{number}" if one.name[0].isupper() else fresh
        uses = sorted(set(one.uses))
        text, _ = applied(document.source.text, [Fix("", tuple(Edit(u, fresh) for u in uses))])
        after = read(Source("x.rwf", text).clean()).diagnostics.all()
        assert [d.code for d in after] == before, (one.kind, one.name, [d.message for d in after])


def test_comments_above_a_definition_are_its_documentation() -> None:
    """Hover shows the `##` lines right above."""
    text = "## What it costs.\n## In euros.\nfn price(x: int) -> int {\n  return x\n}\n"
    document = Document("x.rwf", text, lambda path: None)
    found = document.hover(text.index("price"))
    assert found is not None
    assert "fn price(x: int) -> int" in found[0]
    assert found[0].endswith("What it costs.\nIn euros.")
