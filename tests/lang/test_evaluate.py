"""What programs do: values, effects, paths, errors, limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from raftoral.errors import CorruptionError, WorkflowFailed
from raftoral.lang.compile import queries, start
from raftoral.replay.effects import Compute, RetryPolicy
from raftoral.values import INT_MAX, Money
from tests.lang.driving import Drive, unit, value_of

D = Decimal


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("1 + 2 * 3 - 4", "int", 3),
        ("7 // 2 + 7 % 2", "int", 4),
        ("-7 // 2", "int", -4),
        ("1 / 3", "decimal", D("0.3333333333333333333333333333333333")),
        ("0.1 + 0.2", "decimal", D("0.3")),
        ("3 * 0.5", "decimal", D("1.5")),
        ("9.99EUR * 3", "money<EUR>", Money(D("29.97"), "EUR")),
        ("3 * 9.99EUR - 0.97EUR", "money<EUR>", Money(D("29.00"), "EUR")),
        ("10.00EUR / 4.00EUR", "decimal", D("2.5")),
        ("round(10.00EUR / 3)", "money<EUR>", Money(D("3.33"), "EUR")),
        ("round(1000JPY / 3)", "money<JPY>", Money(D("333"), "JPY")),
        ("round(2.345, 2)", "decimal", D("2.34")),
        ("round(2.5)", "decimal", D("2")),
        ("text(split(10.00EUR, 3))", "string", "[3.34EUR, 3.33EUR, 3.33EUR]"),
        ("sum(split(0.10EUR, 7))", "money<EUR>", Money(D("0.10"), "EUR")),
        ("1h30m + 30m", "duration", timedelta(hours=2)),
        ("1h * 3 / 2", "duration", timedelta(minutes=90)),
        ("1h // 7m", "int", 8),
        ("1 < 2 and not (2 <= 1) or false", "bool", True),
        ("1.0 == 1", "bool", True),
        ('"a" < "b"', "bool", True),
        ("2 in [1, 2]", "bool", True),
        ("3 not in [1, 2]", "bool", True),
        ('"a" in {a: 1}', "bool", True),
        ('"ell" in "hello"', "bool", True),
        ("if 1 > 2 then 3 else 4", "int", 4),
        ("first([1, 2]) ?? 9", "int", 1),
        ('{a: 1}["b"] ?? 9', "int", 9),
        ("last([1, 2]) ?? 9", "int", 2),
        ("[x * 2 for x in [1, 2, 3] if x != 2]", "list<int>", [2, 6]),
        ("sum(x for x in range(5))", "int", 10),
        ("range(2, 5)", "list<int>", [2, 3, 4]),
        ("max(1, 5, 3) + min([4, 2])", "int", 7),
        ("max(1.00EUR, 2.00EUR)", "money<EUR>", Money(D("2.00"), "EUR")),
        ("any(x > 2 for x in [1, 3])", "bool", True),
        ("all(x > 2 for x in [1, 3])", "bool", False),
        ('keys({b: 1, a: 2})', "list<string>", ["a", "b"]),
        ('values({b: 1, a: 2})', "list<int>", [2, 1]),
        ("merge({a: 1}, {a: 2, b: 3})", "map<string, int>", {"a": 2, "b": 3}),
        ("{...{a: 1}, b: 2}", "map<string, int>", {"a": 1, "b": 2}),
        ("sort([3, 1, 2], descending: true)", "list<int>", [3, 2, 1]),
        ("reverse(sort([2.00EUR, 1.00EUR]))", "list<money<EUR>>",
         [Money(D("2.00"), "EUR"), Money(D("1.00"), "EUR")]),
        ("distinct([1, 2, 1])", "list<int>", [1, 2]),
        ("[1] + [2]", "list<int>", [1, 2]),
        ("[1, 2][1]", "int", 2),
        ("abs(-3) + len([1])", "int", 4),
        ('join(split("a-b-c", "-"), "+")', "string", "a+b+c"),
        ('upper(replace("abc", "b", "x")) + lower("ÄB")', "string", "AXCÄb"),
        ('starts_with("abc", "ab") and contains("abc", "bc")', "bool", True),
        ('"{1 + 1} {2.50} {9.99EUR} {1h30m} {true} {[1]} {{}}"'.replace("{{}}", r"\{\}"),
         "string", "2 2.50 9.99EUR 1h30m true [1] {}"),
        (r'"a\tb\u{e9}\"\\"', "string", 'a\tbé"\\'),
        ('"""\nlong "text"\n"""', "string", 'long "text"\n'),
        ("none", "int?", None),
    ],
)  # fmt: skip
def test_an_expression_has_an_exact_value(expression: str, kind: str, value: Any) -> None:
    """Operators and built-ins are exact and do what the reference says."""
    found = value_of(expression, kind)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "kind", "name"),
    [
        ("x + 1", "int", "Overflow"),
        ("-x - 2", "int", "Overflow"),
        ("x * x", "int", "Overflow"),
        ("x // 0", "int", "DivisionByZero"),
        ("x % 0", "int", "DivisionByZero"),
        ("x / 0", "decimal", "DivisionByZero"),
        ("0 / 0", "decimal", "DivisionByZero"),
        ("[1][x]", "int", "OutOfRange"),
        ("[1][-1]", "int", "OutOfRange"),
        ("max([y for y in [1] if y > 2])", "int", "Empty"),
        ("sum(k for k in [m])", "money", ""),
        ("sum(k for k in [m] if false)", "money", "Empty"),
        ("m + n", "money", "CurrencyMismatch"),
        ("text(m < n)", "string", "CurrencyMismatch"),
        ("text(sort([m, n]))", "string", "CurrencyMismatch"),
        ("len(range(x))", "int", "TooLarge"),
        ('replace("aa", "", "b")', "string", "OutOfRange"),
        ("1w * x", "duration", "Overflow"),
        ("9e0", "int", "syntax"),
    ],
)
def test_what_has_no_value_fails_by_name(expression: str, kind: str, name: str) -> None:
    """An operation without a value fails with a named error, never with a wrong value."""
    inputs = {"x": ("int", INT_MAX), "m": ("money", "1.00EUR"), "n": ("money", "1.00USD")}
    if name == "syntax":
        with pytest.raises(AssertionError):
            value_of(expression, kind, **inputs)
    elif not name:
        assert value_of(expression, kind, **inputs) == Money(D("1.00"), "EUR")
    else:
        with pytest.raises(WorkflowFailed) as caught:
            value_of(expression, kind, **inputs)
        assert caught.value.name == name


def test_time_is_exact_and_in_utc() -> None:
    """Moments move by durations, and their difference is one."""
    at = ("timestamp", "2026-03-01T12:00:00+01:00")
    assert value_of("at + 1d", "timestamp", at=at) == datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert value_of("at + 90s - at", "duration", at=at) == timedelta(seconds=90)
    assert value_of("text(at)", "string", at=at) == "2026-03-01T11:00:00.000Z"


EFFECTS = """
record Job { id: string  tries: int = 3 }
error Broken { part: string }
activity shop.find(id: string, limit: int = 2) -> list<string> raises Broken timeout 5s
activity shop.ping() timeout 1s

workflow w version 1 (id: string) -> string {
  signal go(by: string, ok: bool = true)
  checkpoint status = "new"
  let job = Job(id: id)
  compute found: list<string> = shop.find(limit: 7, id: job.id)
    retry 4 backoff 1s..1m factor 1.5 jitter 20% on Broken, Timeout
  compute shop.ping()
  status = "found {len(found)}"
  sleep 1h
  sleep 250ms
  await go as who timeout 2h else { return "nobody" }
  for item in found {
    log "{item} by {who.by}"
    checkpoint seen = item
    seen = upper(item)
    for item2 in [1] { compute shop.ping() timeout 9s }
    while seen == "A" max 3 { compute shop.ping() seen = "" }
  }
  for item in found { compute shop.ping() }
  for item in found { let _pure = item }
  for item in found { compute shop.ping() }
  return "{status} {job.tries}"
}
"""


def test_effects_carry_the_paths_of_their_scopes() -> None:
    """Loops open scopes by variable and turn, a second loop of the name gets a number."""
    drive = Drive(
        EFFECTS,
        ["i"],
        {"shop.find": lambda _id, _limit: ["a", "b"], "shop.ping": lambda: None},
        {"go": [{"by": "me", "ok": True}]},
    )
    assert drive.result() == "found 2 3"
    assert drive.steps == [
        "status = 'new'",
        "found = shop.find('i', 7)",
        "compute#0 = shop.ping()",
        "status = 'found 2'",
        "sleep#0 1:00:00",
        "sleep#1 0:00:00.250000",
        "go#0 within 2:00:00",
        "item[0]/log#0 a by me",
        "item[0]/seen = 'a'",
        "item[0]/seen = 'A'",
        "item[0]/item2[0]/compute#0 = shop.ping()",
        "item[0]/while#0[0]/compute#0 = shop.ping()",
        "item[0]/seen = ''",
        "item[1]/log#0 b by me",
        "item[1]/seen = 'b'",
        "item[1]/seen = 'B'",
        "item[1]/item2[0]/compute#0 = shop.ping()",
        "item#1[0]/compute#0 = shop.ping()",
        "item#1[1]/compute#0 = shop.ping()",
        "item#2[0]/compute#0 = shop.ping()",
        "item#2[1]/compute#0 = shop.ping()",
    ]


def test_clauses_become_the_policy_of_the_compute() -> None:
    """`retry` and `timeout`, or the activity's own timeout, stand in the effect."""
    drive = Drive(EFFECTS, ["i"], {"shop.find": lambda *_: [], "shop.ping": lambda: None})
    assert drive.result() == "nobody"
    computes = [one for one in drive.effects if isinstance(one, Compute)]
    assert computes[0].options.policy == RetryPolicy(
        4, timedelta(seconds=1), timedelta(minutes=1), 150, 20, ("Broken", "Timeout")
    )
    assert [one.options.within for one in computes] == [timedelta(seconds=5), timedelta(seconds=1)]
    assert computes[1].options.policy == RetryPolicy()


FAILING = """
error Declined { code: string }
error Other
activity pay.charge() -> string raises Declined, Other timeout 1s
activity pay.undo(code: string) timeout 1s

workflow w version 1 () -> string raises Declined {
  try {
    try {
      compute paid = pay.charge()
      return "paid {paid}"
    } catch Declined as e {
      compute pay.undo(e.code)
      if e.attempts > 2 { fail e }
      return "{e.name} {e.code} {e.message}"
    } catch Timeout, Other as e {
      return "other {e.name}"
    } finally {
      log "settled"
    }
  } catch as e {
    return "caught {e.name}"
  }
}
"""


def charging(failure: WorkflowFailed | str) -> Drive:
    """Return a run of FAILING whose charge does that."""

    def charge() -> str:
        if isinstance(failure, WorkflowFailed):
            raise failure
        return failure

    return Drive(FAILING, None, {"pay.charge": charge, "pay.undo": lambda _code: None})


def test_errors_are_caught_by_name_and_finally_always_runs() -> None:
    """Each failure finds its catch; `finally` runs behind it, with its effects, whatever happened."""
    declined = WorkflowFailed("Declined", "no money", {"code": "51"}, attempts=1)
    assert charging("p1").result() == "paid p1"
    assert charging(declined).result() == "Declined 51 no money"
    assert charging(WorkflowFailed("Timeout")).result() == "other Timeout"
    assert charging(WorkflowFailed("Strange")).result() == "caught Strange"
    again = charging(WorkflowFailed("Declined", "", {"code": "5"}, attempts=3))
    assert again.result() == "caught Declined"
    assert again.steps == ["paid = pay.charge()", "compute#0 = pay.undo('5',)", "log#0 settled"]


def test_a_cancelled_run_is_not_caught_by_a_bare_catch() -> None:
    """`Cancelled` must be named, so that no run survives its cancelling by accident."""
    drive = charging(WorkflowFailed("Cancelled"))
    with pytest.raises(WorkflowFailed, match="Cancelled"):
        drive.result()
    assert drive.steps[-1] == "log#0 settled"


def test_require_and_fail_raise_the_error_with_its_fields() -> None:
    """An uncaught error leaves the generator with name, message and fields."""
    text = """
    error Broke { missing: money<EUR>  note: string? }
    workflow w version 1 (have: money<EUR>) {
      require have > 1.00EUR else Broke(missing: 1.00EUR - have, message: "too little")
      fail "not {have}"
    }
    """
    with pytest.raises(WorkflowFailed) as poor:
        Drive(text, ["0.40EUR"]).result()
    assert (poor.value.name, poor.value.message) == ("Broke", "too little")
    assert poor.value.details == {"missing": Money(D("0.60"), "EUR"), "note": None}
    with pytest.raises(WorkflowFailed, match="Failed: not 5EUR"):
        Drive(text, ["5EUR"]).result()


def test_match_and_loops_leave_as_written() -> None:
    """Cases are tried in order with their guards; break and continue reach their loop."""
    text = """
    fn kind(n: int) -> string {
      match n {
        case 1 | 2 { return "small" }
        case -1 { return "minus one" }
        case other if other > 100 { return "large {other}" }
        case _ { return "some" }
      }
    }
    workflow w version 1 () -> list<string> {
      var found: list<string> = []
      for n in [1, 50, 101, -1, 7, 2] {
        if n == 50 { continue }
        if n == 7 { break }
        found = found + [kind(n)]
      }
      var turns = 0
      while true max 10 {
        turns = turns + 1
        if turns == 3 { break }
      }
      return found + [text(turns)]
    }
    """
    assert Drive(text).result() == ["small", "large 101", "minus one", "3"]


def test_a_loop_beyond_its_bound_fails() -> None:
    """`max` is a promise: one turn more is the error LoopLimit, in pure loops and others."""
    pure = "workflow w version 1 () { var n = 0 while true max 5 { n = n + 1 } }"
    logging = 'workflow w version 1 () { while true max 2 { log "again" } }'
    exact = "workflow w version 1 () -> int { var n = 0 while n < 5 max 5 { n = n + 1 } return n }"
    for text in (pure, logging):
        with pytest.raises(WorkflowFailed, match="LoopLimit"):
            Drive(text).result()
    assert Drive(exact).result() == 5


def test_fuel_ends_what_would_not_end() -> None:
    """A million pure steps without an effect fail the run, past every catch and finally."""
    text = """
    workflow w version 1 () {
      try {
        for a in range(1000) { for b in range(1000) { let _c = a * b } }
      } catch as e { log e.name } finally { log "never" }
    }
    """
    drive = Drive(text)
    with pytest.raises(WorkflowFailed, match="FuelExhausted"):
        drive.result()
    assert drive.steps == []


def test_values_that_share_their_parts_are_bounded() -> None:
    """A small program cannot build a value that takes for ever to store."""
    text = """
    workflow w version 1 () {
      let row = range(1000)
      let table = [row for x in row]
      checkpoint all = [table for x in range(10)]
    }
    """
    with pytest.raises(WorkflowFailed, match="TooLarge"):
        Drive(text).result()
    doubling = """
    workflow w version 1 () { var s = "0123456789" while true max 100 { s = s + s } log s }
    """
    with pytest.raises(WorkflowFailed, match="TooLarge"):
        Drive(doubling).result()


def test_optional_values_are_narrowed_by_tests() -> None:
    """A value that was tested is no longer optional, by `if`, `require`, `and` and `or`."""
    text = """
    record Order { id: string  note: string? }
    workflow w version 1 (order: Order, n: int?, m: int? = 4) -> string {
      if n is none { return "no n" }
      let a = n + 1
      require order.note is not none else "no note"
      let b = if m is not none and m > 3 then m else 0
      return "{order.note} {a} {b} {order?.id}"
    }
    """.replace("{order?.id}", "{len(order.note)}")
    assert Drive(text, {"order": {"id": "a"}}).result() == "no n"
    assert Drive(text, {"order": {"id": "a", "note": "x"}, "n": 1}).result() == "x 2 4 1"
    with pytest.raises(WorkflowFailed, match="Failed: no note"):
        Drive(text, {"order": {"id": "a"}, "n": 1}).result()


def test_a_signal_that_does_not_come() -> None:
    """Without `else` a timeout is the error Timeout; an `else` that goes on leaves none."""
    text = """
    workflow w version 1 (soft: bool) -> string {
      signal go(by: string)
      if soft {
        await go as first timeout 1m else { log "late" }
        return first?.by ?? "nobody"
      }
      await go as second timeout 1m
      return second.by
    }
    """
    assert Drive(text, [True]).result() == "nobody"
    assert Drive(text, [True], None, {"go": [{"by": "a"}]}).result() == "a"
    assert Drive(text, [False], None, {"go": [{"by": "b"}]}).result() == "b"
    with pytest.raises(WorkflowFailed, match="Timeout"):
        Drive(text, [False]).result()


def test_a_debugger_sees_where_a_run_stands() -> None:
    """Line and visible variables follow the statement that waits."""
    text = """activity a.b(x: int) -> int timeout 1s
workflow w version 1 (n: int) -> int {
  checkpoint state = "new"
  let twice = sum(k for k in [n, n])
  for x in [7] {
    let inner = x
    compute y = a.b(inner)
    state = "done {y}"
  }
  return twice
}
"""
    drive = Drive(text, [3], {})
    seen: list[tuple[int, dict[str, object]]] = []
    assert (drive.evaluation.where()[1], drive.evaluation.variables()) == (0, {"n": 3})

    def look(_x: int) -> int:
        seen.append((drive.evaluation.where()[1], drive.evaluation.variables()))
        return 1

    drive.activities["a.b"] = look
    assert drive.result() == 6
    assert seen == [(7, {"n": 3, "state": "new", "twice": 6, "x": 7, "inner": 7})]
    assert drive.evaluation.where() == ("test.rwf", 10)
    assert drive.evaluation.variables() == {"n": 3, "state": "done 1", "twice": 6}


def test_closing_a_parked_run_runs_no_finally() -> None:
    """Dropping a generator is no error of the workflow: its `finally` stays unrun."""
    text = 'workflow w version 1 () { try { sleep 1h } finally { log "never" } }'
    drive = Drive(text)
    generator = drive.evaluation.generator
    generator.send(None)
    generator.close()
    assert drive.steps == []


def test_an_input_that_was_not_decoded_is_refused() -> None:
    """A stored input without a declared name is damage, not a failure of the workflow."""
    ir = unit("workflow w version 1 (n: int) { log text(n) }").ir
    with pytest.raises(CorruptionError):
        start(ir, {})


def test_a_query_may_go_through_a_list() -> None:
    """What a comprehension of a query binds has its place behind the cells that it reads."""
    text = """
    workflow w version 1 () {
      checkpoint low = 1
      checkpoint seen = [1, 2, 3]
      query above -> int = count(one > low for i, one in seen if i < 2)
    }"""
    asked = queries(unit(text).ir)["above"]
    assert asked({"low": 1, "seen": [1, 2, 3]}) == 1
