"""What editors paint: each name, once, on its line."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from raftoral._assets import asset
from raftoral.lang.assist import Document
from raftoral.lang.painting import KINDS, MARKS, painted
from raftoral.registry.files import beside

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(asset("workflows").rglob("*.rwf"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pieces_are_in_order_and_names_are_among_them(path: Path) -> None:
    """No two overlap, none leaves its line, and each use of a name is one, wherever it stands."""
    document = Document(str(path), path.read_text(), beside(path))
    text = document.source.text
    found = painted(text, document.index)
    for one, following in pairwise(found):
        assert one.end <= following.start
    for one in found:
        assert one.kind in KINDS
        assert set(one.marks) <= set(MARKS)
        assert "\n" not in text[one.start : one.end]
        assert one.end > one.start
    assert document.index is not None
    uses = {use for one in document.index.symbols for use in one.uses}
    assert uses <= {(one.start, one.end) for one in found}
