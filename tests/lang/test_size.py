"""The largest history: what is said before a run begins is true of the run."""

from __future__ import annotations

import pytest

from raftoral.errors import WorkflowFailed
from raftoral.lang import verify
from raftoral.lang.check import size
from raftoral.replay import history
from raftoral.testing import Takes
from tests.lang.driving import unit
from tests.lang.worlds import HEAD, world

CHILD = "workflow child version 1 (n: int) -> int { sleep 1h return n }\n"


def largest(text: str) -> str:
    """Return what is said of the workflow `w` of a text."""
    return str(size.largest(verify.decode(unit(HEAD + text, "w").ir).body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "2 events"),
        ("let x = 1 log text(x)", "3 events"),
        ("checkpoint c = 1 c = 2", "4 events"),
        ("compute a.b(1)", "3 events"),
        ("compute a.b(1) retry 5", "7 events"),
        ("compute a.b(1) at_most_once", "4 events"),
        ("compute a.b(1) retry 3 deadline 1h", "6 events"),
        ("sleep 1s sleep until self.started", "6 events"),
        ("await s as v timeout 1h else { log text(1) }", "5 events"),
        ("if xs == [] { sleep 1s } else { sleep 1s sleep 1s }", "6 events"),
        ("for x in [1, 2, 3] { log text(x) }", "5 events"),
        ("for x in range(10) { compute a.b(x) sleep 1s }", "32 events"),
        ("for x in xs { compute a.b(x) }", "2 events, and 1 for each turn of `x`"),
        (
            "for x in xs parallel { compute a.b(x) sleep 1s }",
            "4 events, and 3 for each turn of `x`",
        ),
        ("var n = 0 while n < 9 max 100 { n = n + 1 log text(n) }", "102 events"),
        ("parallel { branch a { log text(1) } branch b { sleep 1s } }", "7 events"),
        ("race { after 1s { log text(1) } branch b { sleep 1s } }", "9 events"),
        ("try { sleep 1s } catch Bad { log text(1) } finally { log text(2) }", "6 events"),
        ("saga { compute y = a.b(1) compensate a.undo(y) retry 3 fail Bad(x: y) }", "6 events"),
        ("call c = child(n: 1) log text(c)", "5 events"),
        ("start child(n: 1)", "3 events"),
        ("callback c: int await c as v log text(v)", "5 events"),
    ],
)
def test_what_is_said_of_each_statement(body: str, said: str) -> None:
    """One for each event that the reference names, the beginning and the end included."""
    text = f"{CHILD}workflow w version 1 (xs: list<int> = []) {{ signal s(x: int) {body} }}"
    assert largest(text) == said


def test_a_run_that_does_everything_writes_what_was_said() -> None:
    """All attempts, a child that is left, a compensation, and the longest way."""
    text = f"""{CHILD}
    workflow w version 1 () {{
      for x in range(3) {{
        race {{
          branch a {{ call c = child(n: x) log text(c) }}
          after 1s {{ }}
        }}
      }}
      sleep 2h
      saga {{
        compute y = a.b(1) retry 4 compensate a.undo(y) retry 2
        fail Bad(x: y)
      }}
    }}"""
    made = world(text, mocks={"a.b": lambda x: Takes("1s", x), "a.undo": None})
    made.run()
    unused = 3 + 3 + 1  # the lines behind a child that came too late, the attempts that were enough
    assert f"{len(made.events()) + unused} events" == largest(text)


@pytest.mark.parametrize("clauses", ["at_most_once", "retry 3 deadline 1h", "deadline 1h"])
def test_what_clauses_add_is_counted(clauses: str) -> None:
    """An attempt that may be made once is asked for; a deadline is a timer of its own."""

    def fail(x: int) -> int:
        raise WorkflowFailed("Bad", details={"x": x})

    text = f"workflow w version 1 () {{ compute a.b(1) {clauses} }}"
    made = world(text, mocks={"a.b": fail})
    made.run()
    assert f"{len(made.events())} events" == largest(text)


def test_the_bound_is_that_of_histories() -> None:
    """The checker names it without importing what runs."""
    assert size.HISTORY_EVENTS_MAX == history.HISTORY_EVENTS_MAX
