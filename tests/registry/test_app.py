"""What an application registers, and how definitions are told apart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import CorruptionError, DefinitionRefused, InvalidInput, UsageError
from raftoral.ids import Millis
from raftoral.registry.app import Registry
from raftoral.registry.definition import Definition, code_hash, python_definition
from raftoral.registry.python import as_input, python_arguments, python_input, start_python
from raftoral.replay.effects import Activity, Flow, Log, activity, workflow
from raftoral.replay.history import Started
from raftoral.values import Money

if TYPE_CHECKING:
    from raftoral.replay.effects import Workflow


@dataclass
class Line:
    """One line of an order."""

    price: Money
    count: int = 1


@workflow("order", version=1)
def order(customer: str, lines: list[Line], wait: timedelta = timedelta(hours=1)) -> Flow[str]:
    """Take an order."""
    yield from Log(customer)
    return customer


@activity("pay")
def pay(amount: Decimal) -> Decimal:
    """Pay."""
    return amount


# ------------------------------------------------------------------ names
def test_names_are_taken_once() -> None:
    """A second workflow of a name and version, or activity of a name, is refused."""
    registry = Registry(workflows=[order], activities=[pay])
    with pytest.raises(UsageError, match="registered twice"):
        registry.add_workflow(order)
    with pytest.raises(UsageError, match="registered twice"):
        registry.add_activity(pay)


def test_a_workflow_that_no_replay_could_repeat_is_refused() -> None:
    """Registering checks the code and shows the line; a reason at the line, or `lint=False`, allows."""

    @workflow("late", version=1)
    def late() -> Flow[float]:
        yield from Log("late")
        return time.monotonic()

    @workflow("meant", version=1)
    def meant() -> Flow[float]:
        yield from Log("meant")
        return time.monotonic()  # raftoral: allow RPY10 because the test is about the comment

    with pytest.raises(DefinitionRefused) as refused:
        Registry(workflows=[late])
    text = str(refused.value)
    assert text.startswith(
        "workflow late version 1 cannot be repeated by a replay\n\nerror[RPY10]: "
    )
    assert "        return time.monotonic()\n" in text
    assert "raftoral: allow CODE because" in text
    assert Registry(workflows=[meant]).workflows
    assert Registry(workflows=[late], lint=False).workflows


def test_undecorated_functions_are_refused() -> None:
    """What was not decorated is refused with how to decorate it."""
    with pytest.raises(UsageError, match="@workflow"):
        Registry(workflows=[order.function])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="@activity"):
        Registry(activities=[pay.function])  # type: ignore[list-item]


def test_decorators_register() -> None:
    """The registry's own decorators make and add."""
    registry = Registry()

    @registry.activity("double")
    def double(number: int) -> int:
        return 2 * number

    @registry.workflow("w", version=3)
    def flow() -> Flow[None]:
        yield from Log("x")

    assert isinstance(double, Activity)
    assert double(4) == 8
    assert set(registry.workflows) == {("w", 3)}
    assert set(registry.activities) == {"double"}
    assert repr(flow) == "<workflow w version 3>"


# ------------------------------------------------------------------ definitions
def test_a_definition_comes_back_from_its_bytes() -> None:
    """What is stored is read back; anything else is damage."""
    definition = python_definition(order)
    assert Definition.decode(definition.encode()) == definition
    assert (definition.name, definition.kind) == ("order", "python")
    for data in (b"", b"\x90", b"\xc0", definition.encode()[:-1]):
        with pytest.raises(CorruptionError):
            Definition.decode(data)


def test_layout_and_comments_do_not_change_the_hash() -> None:
    """The hash of code is over its tokens: formatting may change, meaning may not."""
    one = "def f(a):\n    return a + 1\n"
    same = "def f(a):  # a comment\n\n        return (a\n            + 1)\n".replace(
        "(a\n            + 1)", "a + 1"
    )
    assert code_hash(one) == code_hash(same)
    for other in (
        "def f(a):\n    return a + 2\n",
        "def f(b):\n    return b + 1\n",
        "def f(a):\n    return a +1.0\n",
        "def f(a):\n    if a:\n        return a + 1\n",
    ):
        assert code_hash(other) != code_hash(one)


def test_an_indented_block_is_not_its_neighbour() -> None:
    """Moving a line out of a block changes the hash."""
    inside = "def f(a):\n    if a:\n        x = 1\n        y = 2\n"
    outside = "def f(a):\n    if a:\n        x = 1\n    y = 2\n"
    assert code_hash(inside) != code_hash(outside)


def test_code_without_source_is_refused() -> None:
    """A workflow whose source cannot be read has no meaning to tell apart."""
    space: dict[str, Any] = {}
    exec("def f():\n    yield 1\n", space)
    made: Workflow[[], Any] = workflow("w", version=1)(space["f"])
    with pytest.raises(UsageError, match="define it in a file"):
        python_definition(made)


# ------------------------------------------------------------------ input
def test_input_is_given_by_name_or_position_and_stored_by_name() -> None:
    """Both forms are the same input; defaults are filled in, so that they cannot change later."""
    price = Money(Decimal("1.50"), "EUR")
    by_name = python_input(order, {"customer": "c", "lines": [Line(price, 2)]})
    by_place = python_input(order, ["c", [{"price": "1.50EUR", "count": 2}]])
    assert by_name == by_place
    assert by_name == {
        "customer": "c",
        "lines": [{"price": price, "count": 2}],
        "wait": timedelta(hours=1),
    }
    arguments = python_arguments(order, by_name)
    assert arguments["lines"] == [Line(price, 2)]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"customer": 1, "lines": []}, "input.customer"),
        ({"customer": "c", "lines": [{"price": 5}]}, "input.lines"),
        ({"customer": "c", "lines": [{"price": "5 euros"}]}, "input.lines"),
        ({"customer": "c"}, "missing"),
        ({"customer": "c", "lines": [], "more": 1}, "more"),
        (["c", [], "1h", 4], "too many"),
        ({"customer": "c", "lines": [], "wait": "soon"}, "input.wait"),
    ],
)
def test_input_that_does_not_fit_is_refused_with_its_place(given: Any, place: str) -> None:
    """A wrong type, a missing or a surplus name is `InvalidInput` that names it."""
    with pytest.raises(InvalidInput, match=place):
        python_input(order, given)


def test_optional_and_nested_exact_kinds_are_read_from_text() -> None:
    """Amounts and spans inside unions, maps and tuples come from their texts, as JSON gives them."""

    @workflow("w", version=1)
    def flow(
        limit: Money | None,
        spans: dict[str, timedelta],
        pair: tuple[Decimal, ...],
        plain: Any = None,
    ) -> Flow[None]:
        yield from Log("x")

    given = {"limit": "2.00USD", "spans": {"a": "1h"}, "pair": ["1.5", 2]}
    stored = python_input(flow, given)
    assert stored == {
        "limit": Money(Decimal("2.00"), "USD"),
        "spans": {"a": timedelta(hours=1)},
        "pair": [Decimal("1.5"), Decimal(2)],
        "plain": None,
    }
    assert python_input(flow, {"limit": None, "spans": {}, "pair": []})["limit"] is None  # type: ignore[index,call-overload]


def test_arguments_are_one_input() -> None:
    """Call arguments are a list or a map, never a mix."""
    assert as_input([1, 2], {}) == [1, 2]
    assert as_input([], {"a": 1}) == {"a": 1}
    with pytest.raises(UsageError, match="not both"):
        as_input([1], {"a": 1})


def test_a_started_workflow_shows_its_variables_and_line() -> None:
    """Variables and line are those of the statement that the generator stands at."""
    started = Started("order", 1, "m", {"customer": "c", "lines": []}, Millis(0), "", 0)
    body = start_python(order, started)
    next(body.generator)
    assert body.variables()["customer"] == "c"
    file, line = body.where()
    assert file == __file__
    assert line == order.function.__code__.co_firstlineno + 3
    body.generator.close()
    assert body.where() == (__file__, 0)
    assert body.variables() == {}


def test_an_input_that_is_no_map_is_refused() -> None:
    """A stored input that names nothing starts no workflow."""
    with pytest.raises(UsageError, match="no map"):
        python_arguments(order, [1, 2])
