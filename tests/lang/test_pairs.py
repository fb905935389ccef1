"""Programs by chance and their twins: one history, whatever crashes, however they are stored."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from raftoral.errors import UsageError
from raftoral.lang import verify
from raftoral.lang.check import size
from raftoral.lang.compile import Source, compile_source
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.format import format_source
from raftoral.lang.render import render_all
from raftoral.registry.definition import rwf_definition
from raftoral.replay.history import CallbackOpened, Started
from raftoral.replay.wording import describe
from raftoral.testing import Takes, World
from tests.lang.pairs import Pair, bad, registry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.compile import WorkflowUnit
    from raftoral.replay.history import Event


def outcome(x: int, *, timed: bool) -> Any:
    """Return what the activity gives: by its argument alone, so that another attempt gives it too."""
    if x % 4 == 3:
        raise bad(x)
    return Takes(f"{x % 4}s", x + 1) if timed else x + 1


def compiled(text: str) -> list[WorkflowUnit]:
    """Compile a text, which must have no mistake."""
    made = compile_source(Source("pair.rwf", text))
    assert not made.has_errors, render_all(made.diagnostics, made.source)
    return list(made.units)


def history(prepared: World, *, crash: int = 0) -> list[str]:
    """Run to the end and return the history as text; die behind one event."""
    if crash:
        count = 0

        def settled(_run: str, _event: object) -> None:
            nonlocal count
            count += 1
            if count == crash:
                prepared.crash_soon()

        prepared.settled = settled
    answering(prepared)
    prepared.start("w", {"n": 2, "round": 0})
    for at, x in (("1s", 1), ("4s", 2), ("4s", 3)):
        prepared.at(at, partial(send, prepared, x))
        prepared.at(at, partial(ask, prepared, x))
    prepared.run()
    events = [
        e._replace(meaning_hash="") if isinstance(e, Started) else e for e in prepared.events()
    ]
    prepared.close()
    return [describe(event) for event in events]


def send(made: World, x: int) -> None:
    """Send a signal, unless the run is over."""
    if made.status("run") == "running":
        made.signal("run", "s", {"x": x})


def ask(made: World, x: int) -> None:
    """Send a request, unless the run is over."""
    if made.status("run") == "running":
        made.update("run", "u", {"x": x})


def answering(made: World) -> None:
    """Complete callbacks after a second, or when it is too late, by their names."""
    usual = made.settled

    def settled(run: str, event: Event) -> None:
        usual(run, event)
        if isinstance(event, CallbackOpened):
            after = "1s" if event.path[-1] in "02468" else "5s"
            made.at(after, partial(complete, made, event.token))

    made.settled = settled


def complete(made: World, token: str) -> None:
    """Complete a callback, unless it is too late."""
    with suppress(UsageError):
        made.complete(token, 4)


def mocks(*, timed: bool) -> dict[str, Callable[[int], Any]]:
    """Return what stands for the activities."""
    return {"a.b": lambda x: outcome(x, timed=timed), "a.undo": lambda x: None}


def most_events(unit: WorkflowUnit) -> int:
    """Return how long the history can be, if a list whose length the text does not say has three."""
    known = size._length
    with patch.object(size, "_length", lambda node: 3 if known(node) is None else known(node)):
        found = size.largest(verify.decode(unit.ir).body)
    assert not found.turns
    return found.events


def check(seed: int) -> None:
    """Make a pair by a seed and hold it against all that must be true of it."""
    chance = Random(seed)
    pair = Pair(lambda n: chance.randrange(n))
    units = compiled(pair.text)
    definitions = [rwf_definition(unit) for unit in units]
    children = [one for one in definitions if one.name == "child"]
    mine = history(World(definitions=definitions, mocks=mocks(timed=True)))
    registry = registry_of(pair.python)
    if registry is not None:
        theirs = history(World(registry, definitions=children, mocks=mocks(timed=True)))
        assert mine == theirs
    assert len(mine) <= most_events(units[-1])
    laid = format_source(Source("pair.rwf", pair.text).clean(), Diagnostics())
    assert laid is not None
    assert [one.meaning_hash for one in compiled(laid)] == [one.meaning_hash for one in units]
    for unit in units:
        assert verify.decode(unit.ir).encode() == unit.ir
    calm = history(World(definitions=definitions, mocks=mocks(timed=False)))
    if not any(line.startswith("Asked") for line in calm):  # what may be attempted once is cut off
        for _ in range(3):
            number = 1 + chance.randrange(len(calm))
            again = history(World(definitions=definitions, mocks=mocks(timed=False)), crash=number)
            if any(line.startswith("ChildDone") for line in calm):
                # Of children that end at one moment either may be heard of first.
                assert sorted(again) == sorted(calm), number
            else:
                assert again == calm, number


@pytest.mark.parametrize("seed", [*range(30), 1292451782])  # the last: deeper than Python nests
def test_a_program_by_chance_and_its_twin_have_one_history(seed: int) -> None:
    """And the same one after any crash, and the same meaning after formatting and storing."""
    check(seed)


def test_the_pairs_are_worth_running() -> None:
    """They use every effect, many get far, and some fail."""
    kinds: set[str] = set()
    lengths: list[int] = []
    for seed in range(60):
        chance = Random(seed)
        units = compiled(Pair(lambda n: chance.randrange(n)).text)  # noqa: B023
        made = World(definitions=[rwf_definition(u) for u in units], mocks=mocks(timed=True))
        lines = history(made)
        kinds |= {line.split()[0] for line in lines}
        kinds |= {"undo" for line in lines if " undo/" in line}
        lengths.append(len(lines))
    assert kinds >= {
        "Started", "Set", "Retry", "Done", "TimerSet", "TimerFired", "Taken", "Logged", "Opened",
        "Closed", "undo", "ChildAsked", "ChildDone", "Asked",
        "CallbackOpened", "CallbackDone", "Updated", "Ended",
    }  # fmt: skip
    assert sum(length > 10 for length in lengths) > 20
