"""The stored form: hashes that follow the meaning, bytes that are checked before they run."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral._assets import asset
from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, InvalidInput, RaftoralError, UsageError
from raftoral.lang import verify
from raftoral.lang.compile import compile_source, decode_input, interface, start
from raftoral.lang.source import Source
from raftoral.registry.files import beside
from raftoral.testing.trials import _Trying
from tests.lang.driving import unit
from tests.lang.test_evaluate import EFFECTS, FAILING

if TYPE_CHECKING:
    from collections.abc import Container

    from raftoral.ids import RunId
    from raftoral.lang.compile import Compiled
    from raftoral.replay.history import Event

STEPS = {**verify._STATEMENTS, **verify._EFFECTS}
ORDER = (asset("workflows") / "order.rwf").read_text()
TEXTS = [ORDER, EFFECTS, FAILING]


def meaning(text: str) -> str:
    """Return the meaning hash of a text."""
    return unit(text).meaning_hash


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_back_what_was_encoded(text: str) -> None:
    """Encode and decode are inverse, and the hashes stay."""
    made = unit(text)
    again = verify.decode(made.ir)
    assert again.encode() == made.ir
    assert again.meaning_hash() == made.meaning_hash == interface(made.ir).meaning_hash
    assert interface(made.ir).inputs == made.inputs


def test_layout_comments_and_local_names_do_not_change_the_meaning() -> None:
    """What no history can see is not part of the meaning; the text hash sees it."""
    base = unit(ORDER)
    for changed in (
        ORDER.replace("  ", "\t"),
        "# another comment\n" + ORDER,
        ORDER.replace("\n", "\r\n"),
        ORDER.replace("amount = total", "sum_of_all = total")
        .replace("amount >", "sum_of_all >")
        .replace("order.id, amount,", "order.id, sum_of_all,")
        .replace("amount: amount", "amount: sum_of_all"),
        ORDER.replace("declined.code", "no.code")
        .replace("as declined", "as no")
        .replace("fail declined", "fail no"),
        ORDER.replace("total(", "whole_amount("),
        ORDER.replace("item.", "each.").replace("for item in", "for each in"),
        ORDER.replace("APPROVE_ABOVE", "LIMIT_OF_TRUST"),
        ORDER + "\nrecord Unused { x: int }\nfn unused(x: int) -> int { return x }\n",
    ):
        other = unit(changed)
        assert other.meaning_hash == base.meaning_hash
    assert unit(ORDER + "\n\n  \n").text_hash == base.text_hash
    assert unit(ORDER.replace("\n", "\r\n")).text_hash == base.text_hash
    assert unit("# more\n" + ORDER).text_hash != base.text_hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("compute payment", "compute paid"),
        ("checkpoint status", "checkpoint state"),
        ("500.00EUR", "500.01EUR"),
        ("sleep 50ms", "sleep 51ms"),
        ("retry 20", "retry 21"),
        ("version 1", "version 2"),
        ("timeout 24h", "timeout 23h"),
        ("qty: int", "qty: int = 1"),
        ("amount > 0.00EUR", "amount >= 0.00EUR"),
        ("item.price * item.qty", "item.qty * item.price"),
    ],
)
def test_what_a_history_or_a_caller_can_see_is_the_meaning(old: str, new: str) -> None:
    """Names of steps, values, limits and types are part of the meaning hash."""
    changed = ORDER.replace(old, new)
    changed = changed.replace("payment: payment", "payment: paid") if "paid" in new else changed
    changed = changed.replace("  status =", "  state =") if "state" in new else changed
    changed = changed.replace("    status =", "    state =") if "state" in new else changed
    same = old.startswith("item.price")  # the operands change places, the product does not
    assert (meaning(changed) == meaning(ORDER)) is same


def test_loop_variables_name_their_scopes() -> None:
    """The variable of a loop with effects is part of the paths, so it is part of the meaning."""
    text = "workflow w version 1 () { for x in [1] { log text(x) } }"
    other = "workflow w version 1 () { for y in [1] { log text(y) } }"
    assert meaning(text) != meaning(other)


def test_one_file_gives_a_closed_unit_for_each_workflow() -> None:
    """Each unit holds the functions and records that it needs, numbered for itself."""
    text = """
    record A { x: int }
    fn one(x: int) -> int { return x + 1 }
    fn two(x: int) -> int { return one(x) * 2 }
    workflow first version 1 () -> int { return two(1) }
    workflow second version 3 (a: A) -> int { return one(a.x) }
    """
    first, second = compile_source(Source("t.rwf", text)).units
    assert len(verify.decode(first.ir).functions) == 2
    assert len(verify.decode(second.ir).functions) == 1
    assert [name for name, _ in verify.decode(second.ir).records] == ["A"]
    assert verify.decode(first.ir).records == []


def attempt(data: bytes) -> None:
    """Decode and, if that works, run a few steps; only errors of the library may come out."""
    with suppress(RaftoralError):
        decode_input(data, {"order": {"id": "o", "card": "c", "items": []}, "id": "i"})
    try:
        generator = start(
            data, {"order": {"id": "o", "card": "c", "items": []}, "id": "i"}
        ).generator
        for _ in range(5):
            generator.send(None)
    except (RaftoralError, StopIteration):
        pass


class Harmless(_Trying):
    """Runs a test block of a program that was damaged, whatever comes of it."""

    def compare(self, _elapsed: int) -> None:
        """Expect nothing."""

    def note(self, run_id: RunId, event: Event) -> None:
        """Give up on a run that may be without an end."""
        super().note(run_id, event)
        self.noted = getattr(self, "noted", 0) + 1
        if self.noted > 500:
            raise UsageError("long enough")


def run_instead(name: str, data: bytes, chance: Random) -> None:
    """Run a test block of a sample on other bytes; only errors of the library may come out."""
    compiled = sample(name)
    trial = chance.choice(compiled.trials)
    units = tuple(
        replace(one, ir=data) if (one.name, one.version) == (trial.workflow, trial.version) else one
        for one in compiled.units
    )
    with suppress(RaftoralError):
        Harmless(trial, replace(compiled, units=units)).verdict()


@cache
def sample(name: str) -> Compiled:
    """Return a compiled sample program."""
    path = asset("workflows") / name
    return compile_source(Source(path.name, path.read_text()), beside(path))


def parts_of(node: Any, table: Container[str]) -> list[Any]:
    """Return all parts of a program that are operations of a table of the reader."""
    found = []
    todo = [node]
    while todo:
        part = todo.pop()
        if type(part) is list:
            if part and type(part[0]) is str and part[0] in table:
                found.append(part)
            todo += part
    return found


def exchanged(program: Any, chance: Random) -> Any:
    """Put copies of some expressions or statements of a program in the place of others."""
    table: Container[str] = chance.choice([verify._EXPRESSIONS, STEPS])
    for _ in range(chance.choice([1, 1, 2])):
        parts = parts_of(program, table)
        chance.choice(parts)[:] = deepcopy(chance.choice(parts))
    return program


def spoilt(data: bytes, chance: Random) -> bytes:
    """Return bytes with parts exchanged: of the program, or of the bytes themselves."""
    if chance.random() < 0.7:
        return pack_record(exchanged(unpack_record(data), chance))
    if chance.random() < 0.5:
        return pack_record(replaced(unpack_record(data), chance, POOL))
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("name", ["trip", "approval", "batch", "shop_v2", "patterns/09_tolerance"])
def test_a_spoilt_program_with_branches_is_refused_or_runs_harmlessly(name: str) -> None:
    """Races, sagas, queries, enums and functions too: in a world, to the end."""
    chance = Random(name)
    units = sample(f"{name}.rwf").units
    for _ in range(60):
        run_instead(f"{name}.rwf", spoilt(chance.choice(units).ir, chance), chance)


def test_damaged_bytes_are_refused_not_run() -> None:
    """Flipped, cut and exchanged bytes give CorruptionError or a run without a foreign error."""
    chance = Random(11)
    for text in TEXTS:
        data = unit(text).ir
        for _ in range(400):
            damaged = bytearray(data)
            for _ in range(chance.choice([1, 1, 2, 5])):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            if chance.random() < 0.2:
                del damaged[chance.randrange(len(damaged)) :]
            attempt(bytes(damaged))


def replaced(node: Any, chance: Random, pool: list[Any]) -> Any:
    """Return a copy of nested lists with one place exchanged for something else."""
    if type(node) is list and node and chance.random() < 0.9:
        copy = list(node)
        at = chance.randrange(len(copy))
        copy[at] = replaced(copy[at], chance, pool)
        return copy
    return chance.choice(pool)


POOL: list[Any] = [
    None, True, 0, 1, -1, 2**62, "", "x", "const", b"", [], ["const", 1], ["local", 1],
    ["local", 99], ["do", "len", [["const", 1]]], ["call", 0, []], ["break"], ["return", ["const", 2]],
    ["int"], ["record", "Nope"], ["enum", "Nope"], ["money", "EUR"], ["undo"], ["give", ["const", 1]],
    ["compute", 1, "x", "y", [], [None, None, None, None, None, False], None],
    ["parallel", None, None, [None, None, None], [["branch", "a", []]]],
    ["race", None, None, [["after", ["const", 1], []]]], ["saga", [["undo"]]],
    ["await", "x", ["signal", "x", None]], ["await", "x", ["callback", 1, None]],
    ["restart", []], ["self", "id"],
]  # fmt: skip


def test_well_formed_nonsense_is_refused_or_runs_harmlessly() -> None:
    """A program whose parts were exchanged never raises a foreign error and never hangs."""
    chance = Random(5)
    for text in TEXTS:
        program = unpack_record(unit(text).ir)
        for _ in range(1500):
            attempt(pack_record(replaced(program, chance, POOL)))


def test_a_deep_program_is_refused() -> None:
    """Nesting without end is damage, not a stack overflow."""
    unit_ir = verify.decode(unit("workflow w version 1 () -> bool { return true }").ir)
    node: list[Any] = ["const", True]
    for _ in range(250):
        node = ["not", node]
    bad = [[*unit_ir.meaning()[:-2], [["return", node]], 10], ["p", "", [1, 1], []]]
    with pytest.raises(CorruptionError):
        verify.decode(pack_record(bad))


def test_another_version_of_the_form_is_named() -> None:
    """A newer form is refused with both numbers."""
    program = unpack_record(unit(FAILING).ir)
    program[0][0] = 99
    with pytest.raises(CorruptionError, match="IR version 99; this build reads 2"):
        verify.decode(pack_record(program))


def test_an_input_is_checked_from_the_stored_form_alone() -> None:
    """No source and no grammar is needed to check an input."""
    with pytest.raises(InvalidInput, match=r"input\.order\.items\[0\]\.qty"):
        decode_input(
            unit(ORDER).ir,
            {
                "order": {
                    "id": "o",
                    "card": "c",
                    "items": [{"sku": "a", "qty": "1", "price": "1EUR"}],
                }
            },
        )
