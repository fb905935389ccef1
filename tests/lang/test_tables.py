"""The parser's tables are kept, and what is kept is trusted only if it is exactly that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from raftoral._assets import asset
from raftoral.cli.cache import Folder
from raftoral.lang import grammar, tables
from raftoral.lang.grammar import STARTS, grammar_text

if TYPE_CHECKING:
    from pathlib import Path

ORDER = (asset("workflows") / "order.rwf").read_text()


class Shelf:
    """A store that counts."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.writes = 0

    def read(self, name: str) -> bytes | None:
        """Return what is kept."""
        return self.kept.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Keep."""
        self.writes += 1
        self.kept[name] = data


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """A shelf with the tables of the grammar, which take a while to build."""
    shelf = Shelf()
    tables.tables(grammar_text(), STARTS, shelf)
    return shelf


def key_of(data: bytes) -> str:
    """Return the key that kept bytes begin with."""
    found: str = json.loads(data.partition(b"\n")[0])["key"]
    return found


def test_kept_tables_parse_as_built_ones_do(shelf: Shelf) -> None:
    """A parser from the kept bytes gives the same tree, with and without all tokens."""
    again = tables.tables(grammar_text(), STARTS, shelf)
    assert shelf.writes == 1
    for keep in (False, True):
        kept = tables.restore(again, None, keep_all_tokens=keep)
        built = grammar.build(None, keep_all_tokens=keep)
        same = kept.parse(ORDER, start="start") == built.parse(ORDER, start="start")
        assert same


@pytest.mark.parametrize("damage", [b"", b"\x80\x04garbage", b"{}\n{}\n", b"[1]\n[2]", b"null\n1"])
def test_foreign_bytes_are_no_tables(shelf: Shelf, damage: bytes) -> None:
    """Anything else than what was written is not read."""
    (good,) = shelf.kept.values()
    assert tables.decode(damage, key_of(good)) is None


def test_every_flipped_byte_is_noticed(shelf: Shelf) -> None:
    """Damaged bytes are never tables, and whole ones only of their own grammar."""
    (good,) = shelf.kept.values()
    key = key_of(good)
    assert tables.decode(good, key) is not None
    for at in range(0, len(good) - 1, 1009):
        damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert tables.decode(damaged, key) is None
    assert tables.decode(good, "another") is None


def test_another_grammar_has_its_own_tables() -> None:
    """A small grammar, changed, never finds the tables of before; damaged ones are made anew."""
    shelf = Shelf()
    small = "start: A\nsingle_expr: A\nA: /a/\n"
    tables.tables(small, STARTS, shelf)
    tables.tables(small + "// changed", STARTS, shelf)
    assert len(shelf.kept) == 2
    name = next(iter(shelf.kept))
    shelf.kept[name] = b"damaged"
    found = tables.tables(small, STARTS, shelf)
    assert shelf.writes == 3
    assert tables.restore(found, None, keep_all_tokens=False).parse("a", start="start")
    tables.tables(small, STARTS, shelf)
    assert shelf.writes == 3


def test_a_folder_keeps_bytes(tmp_path: Path) -> None:
    """What is written is read, whole; a folder that cannot be made is done without."""
    folder = Folder(tmp_path / "a" / "b")
    assert folder.read("x") is None
    folder.write("x", b"1")
    folder.write("x", b"22")
    assert folder.read("x") == b"22"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x"]
    (tmp_path / "file").write_text("")
    nowhere = Folder(tmp_path / "file" / "b")
    nowhere.write("x", b"1")
    assert nowhere.read("x") is None
