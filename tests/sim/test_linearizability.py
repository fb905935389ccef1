"""The checker against a dumb one, and the cases where checkers go wrong."""

from __future__ import annotations

import os
from itertools import combinations, permutations
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftoral.sim.linearizability import (
    UNKNOWN_RESULT,
    History,
    Operation,
    Verdict,
    check,
    growing_text,
    register,
)
from tests.corpora import linearizability as corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.sim.linearizability import Action, Model
    from tests.corpora.tally import Tally

FOLDER = os.environ.get("RAFTORAL_CORPORA", "")


def by_trying_everything(operations: Sequence[Operation], model: Model) -> bool:
    """Try every order of all that ended and any of the rest."""
    ended = [operation for operation in operations if operation.ended is not None]
    endless = [operation for operation in operations if operation.ended is None]
    return any(
        fits(order, model)
        for count in range(len(endless) + 1)
        for chosen in combinations(endless, count)
        for order in permutations([*ended, *chosen])
    )


def fits(order: Sequence[Operation], model: Model) -> bool:
    """Whether ``order`` keeps to real time and to the model."""
    for at, later in enumerate(order):
        if any(later.ended is not None and later.ended < o.began for o in order[:at]):
            return False
    state = model.initial
    for operation in order:
        after = model.step(state, operation.action, operation.result)
        if after is None:
            return False
        (state,) = after
    return True


def some_operation(random: Random, action: Action, result: object) -> Operation:
    """Return an operation at a random time, sometimes without an end."""
    began = random.randrange(12)
    if random.random() < 0.25:
        return Operation("k", action, UNKNOWN_RESULT, began, None)
    return Operation("k", action, result, began, began + random.randrange(1, 6))


def in_a_register(random: Random) -> Operation:
    """Return an operation on a register of three values."""
    old, new = random.randrange(3), random.randrange(3)
    match random.randrange(3):
        case 0:
            return some_operation(random, ("read",), old)
        case 1:
            return some_operation(random, ("write", new), None)
        case _:
            return some_operation(random, ("cas", old, new), random.random() < 0.5)


def in_a_text(random: Random) -> Operation:
    """Return an operation on a text of few letters."""
    letter = random.choice("ab")
    match random.randrange(4):
        case 0:
            return some_operation(random, ("put", letter), None)
        case 1:
            return some_operation(random, ("append", letter), None)
        case _:
            read = "".join(random.choice("ab") for _ in range(random.randrange(3)))
            return some_operation(random, ("get",), read)


@pytest.mark.parametrize("seed", range(8))
def test_the_search_says_what_trying_everything_says(seed: int) -> None:
    """On small random histories of both models the verdict is the dumb checker's."""
    random = Random(seed)
    seen = set()
    for make, model in ((in_a_register, register(0)), (in_a_text, growing_text())):
        for _ in range(150):
            operations = [make(random) for _ in range(random.randrange(1, 6))]
            verdict = check(operations, model).verdict
            seen.add(verdict)
            assert (verdict is Verdict.YES) == by_trying_everything(operations, model), operations
    assert seen == {Verdict.YES, Verdict.NO}


def test_a_crashed_swap_may_have_happened_or_not() -> None:
    """Both a later read of the new value and one of the old value are right, one after the other."""
    history = History()
    history.begin("a", "k", ("cas", 0, 1))
    history.crash("a")
    for value in (0, 0, 1, 1):
        history.begin("b", "k", ("read",))
        history.end("b", value)
    assert check(history.operations(), register(0)).verdict is Verdict.YES
    history.begin("b", "k", ("read",))
    history.end("b", 0)
    assert check(history.operations(), register(0)).verdict is Verdict.NO


def test_a_crashed_read_says_nothing() -> None:
    """However many reads crash, the verdict is that of the rest, without a search."""
    history = History()
    for caller in range(500):
        history.begin(caller, "k", ("read",))
    history.begin("w", "k", ("write", 7))
    history.end("w", None)
    history.begin("w", "k", ("read",))
    history.end("w", 7)
    assert check(history.operations(), register(), steps_max=2_000).verdict is Verdict.YES


def test_a_withdrawn_operation_did_not_happen() -> None:
    """A read of a value whose write certainly failed is wrong."""
    history = History()
    history.begin("a", "k", ("write", 3))
    history.withdraw("a")
    history.begin("a", "k", ("read",))
    history.end("a", 3)
    assert check(history.operations(), register()).verdict is Verdict.NO


def test_a_caller_that_begins_anew_has_crashed_before() -> None:
    """The operation that it left may still take effect afterwards."""
    history = History()
    history.begin("a", "k", ("write", 1))
    history.begin("a", "k", ("read",))
    history.end("a", None)
    history.begin("a", "k", ("read",))
    history.end("a", 1)
    assert check(history.operations(), register()).verdict is Verdict.YES


def test_keys_do_not_concern_each_other() -> None:
    """The key that is wrong is named, and what others hold does not matter."""
    history = History()
    for key, value in (("x", 1), ("y", 2), ("z", 3)):
        history.begin(key, key, ("write", value))
        history.end(key, None)
        history.begin(key, key, ("read",))
        history.end(key, 1)
    finding = check(history.operations(), register())
    assert finding.verdict is Verdict.NO
    assert finding.key == "y"


def test_a_search_that_is_too_long_is_unknown() -> None:
    """Forty appends at once and a read that fits none would take for ever, and are not decided."""
    history = History()
    for caller in range(40):
        history.begin(caller, "k", ("append", f"{caller},"))
    for caller in range(40):
        history.end(caller, None)
    history.begin("r", "k", ("get",))
    history.end("r", "nothing like that")
    finding = check(history.operations(), growing_text(), steps_max=5_000)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.key == "k"


def test_a_wrong_key_decides_beside_one_that_is_too_long() -> None:
    """One proof that it is wrong is enough, wherever the search for others stopped."""
    history = History()
    for caller in range(40):
        history.begin(caller, "long", ("append", f"{caller},"))
    for caller in range(40):
        history.end(caller, None)
    history.begin("r", "long", ("get",))
    history.end("r", "nothing like that")
    history.begin("r", "wrong", ("get",))
    history.end("r", "a")
    finding = check(history.operations(), growing_text(), steps_max=5_000)
    assert finding.verdict is Verdict.NO
    assert finding.key == "wrong"


def test_nothing_is_linearizable() -> None:
    """A history without operations has nothing wrong in it."""
    assert check([], register()).verdict is Verdict.YES


@pytest.mark.skipif(not FOLDER, reason="RAFTORAL_CORPORA names no folder of test data")
@pytest.mark.parametrize(
    "check_corpus", [corpus.check_porcupine, corpus.check_knossos], ids=["porcupine", "knossos"]
)
def test_histories_of_real_stores_get_the_verdicts_that_others_gave(
    check_corpus: Callable[[Path], Tally],
) -> None:
    """Two other checkers agree with this one about logs of real systems."""
    tally = check_corpus(Path(FOLDER))
    if not tally.total:
        pytest.skip(f"{tally.name} is not in {FOLDER}")
    assert tally.right == tally.total, "\n".join(tally.failures)
