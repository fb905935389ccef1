"""Programs of several files: closed, sent as one text, equal however they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral._assets import asset
from raftoral.lang.compile import compile_source
from raftoral.lang.imports import FILES_MAX, gathered, split
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.registry.files import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from raftoral.lang.compile import Compiled

TYPES = """
record Item { sku: string  price: money<EUR> }
enum State { Open Paid(by: string) }
const NOTHING = 0.00EUR
policy gentle = 5 backoff 1s..1m
activity pay.charge(items: list<Item>) -> State timeout 5s idempotent
fn total(items: list<Item>) -> money<EUR> {
  if items == [] { return NOTHING }
  return sum(item.price for item in items)
}
"""
MAIN = """
import "types.rwf" as t
workflow w version 1 (items: list<t.Item>) -> money<EUR> {
  compute state = t.pay.charge(items) retry t.gentle
  if state is t.State.Open { return t.NOTHING }
  return t.total(items)
}
"""


def loading(files: Mapping[str, str]) -> Callable[[str], Source | None]:
    """Return what reads files of a map, as `beside` reads those of a folder."""
    return lambda path: Source(path, files[path]) if path in files else None


def compiled(text: str, files: Mapping[str, str], path: str = "main.rwf") -> Compiled:
    """Compile a text that imports files of a map."""
    return compile_source(Source(path, text), loading(files))


def codes(made: Compiled) -> list[str]:
    """Return the codes of the reports."""
    return [one.code for one in made.diagnostics]


def meaning(text: str, files: Mapping[str, str]) -> str:
    """Return the meaning hash of the only workflow of a program without mistakes."""
    made = compiled(text, files)
    assert not made.has_errors, render_all(made.diagnostics, made.source)
    (unit,) = made.units
    return unit.meaning_hash


def test_what_is_sent_is_one_text_that_means_the_same() -> None:
    """A program gathered behind its first file needs no other file, and has the same hashes."""
    (unit,) = compiled(MAIN, {"types.rwf": TYPES}).units
    sent = gathered(Source("main.rwf", MAIN), loading({"types.rwf": TYPES}))
    (again,) = compile_source(sent).units
    assert again == unit
    (stored,) = compile_source(Source("main.rwf", unit.source)).units
    assert (stored.text_hash, stored.meaning_hash) == (unit.text_hash, unit.meaning_hash)


def test_the_files_of_a_gathered_text_can_be_had_again() -> None:
    """The first one as it was, each of the others by its path."""
    sent = gathered(Source("main.rwf", MAIN), loading({"types.rwf": TYPES}))
    first, others = split(sent)
    assert first.text == Source("main.rwf", MAIN).clean().text
    assert {path: one.text for path, one in others.items()} == {
        "types.rwf": Source("types.rwf", TYPES).clean().text
    }


def test_the_alias_and_the_place_of_a_definition_are_not_the_meaning() -> None:
    """Another alias, or everything in one file, is the same program."""
    base = meaning(MAIN, {"types.rwf": TYPES})
    assert meaning(MAIN.replace("as t", "as kinds").replace("t.", "kinds.").replace("impor kinds.", ""),
                   {"types.rwf": TYPES}) == base  # fmt: skip
    alone = TYPES + MAIN.replace('import "types.rwf" as t', "").replace("t.", "")
    assert meaning(alone, {}) == base


def test_a_version_does_not_change_because_a_library_did() -> None:
    """What was compiled holds its own copy; what is compiled anew has another meaning."""
    (unit,) = compiled(MAIN, {"types.rwf": TYPES}).units
    newer = TYPES.replace("0.00EUR", "1.00EUR")
    (stored,) = compile_source(Source("main.rwf", unit.source), loading({"types.rwf": newer})).units
    assert stored.meaning_hash == unit.meaning_hash
    assert meaning(MAIN, {"types.rwf": newer}) != unit.meaning_hash


def test_files_import_files_from_where_they_are() -> None:
    """A path is relative to the file in which it stands."""
    files = {
        "kinds/order.rwf": 'import "../base/money.rwf" as m\nrecord Order { at: m.Price }\n',
        "base/money.rwf": "record Price { amount: money<EUR> }\n",
    }
    text = """
    import "kinds/order.rwf" as k
    workflow w version 1 (order: k.Order) -> money<EUR> { return order.at.amount }
    """
    assert meaning(text, files)


@pytest.mark.parametrize(
    ("text", "files", "found"),
    [
        ('import "no.rwf" as n\n', {}, "RWF0130"),
        ('import "a.rwf" as a\n', {"a.rwf": 'import "main.rwf" as m\n'}, "RWF0131"),
        ('import "a.rwf" as a\n', {"a.rwf": 'import "a.rwf" as me\n'}, "RWF0131"),
        ('import "a.rwf" as a\n', {"a.rwf": "record { }\n"}, "RWF0132"),
        ('import "a.rwf" as a\n', {"a.rwf": "record R { x: Nope }\n"}, "RWF0132"),
        ('import "a.rwf" as a\nrecord R { y: int }\n', {"a.rwf": "record R { x: int }\n"}, "RWF0120"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_import_is_said_where_it_stands(
    text: str, files: dict[str, str], found: str
) -> None:
    """Files that are not there, that import each other, that have mistakes, that clash."""
    made = compiled(text + "workflow w version 1 () { }\n", files)
    assert made.has_errors
    assert found in render_all(made.diagnostics, made.source)


def test_the_number_of_files_is_bounded() -> None:
    """A chain of imports ends, whatever it would load."""
    files = {f"f{n}.rwf": f'import "f{n + 1}.rwf" as next\n' for n in range(200)}
    made = compiled('import "f0.rwf" as f\nworkflow w version 1 () { }\n', files)
    assert made.has_errors
    _, others = split(gathered(Source("main.rwf", 'import "f0.rwf" as f\n'), loading(files)))
    assert len(others) == FILES_MAX


def test_a_file_of_a_folder_is_read_by_who_deploys_it(tmp_path: Path) -> None:
    """From the disk, beside the first one; what is not there is a report, no exception."""
    (tmp_path / "types.rwf").write_text(TYPES)
    main = tmp_path / "main.rwf"
    assert not compile_source(Source("main.rwf", MAIN), beside(main)).has_errors
    (tmp_path / "types.rwf").unlink()
    assert codes(compile_source(Source("main.rwf", MAIN), beside(main)))[0] == "RWF0130"


def test_two_versions_of_a_sample_share_their_types() -> None:
    """`shop_v1` and `shop_v2` are two versions of one workflow, out of one library."""
    units = [
        unit
        for name in ("shop_v1", "shop_v2")
        for unit in compile_source(
            Source(f"{name}.rwf", (asset("workflows") / f"{name}.rwf").read_text()),
            beside(asset("workflows") / f"{name}.rwf"),
        ).units
    ]
    assert [(unit.name, unit.version) for unit in units] == [
        ("shop.process", 1),
        ("shop.process", 2),
    ]
    assert units[0].inputs == units[1].inputs
