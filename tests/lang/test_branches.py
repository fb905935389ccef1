"""Branches, sagas, children and whoever is outside: their paths and events (semantics 1 and 2)."""

from __future__ import annotations

from typing import Any

import pytest

from raftoral.errors import InvalidInput, WorkflowFailed
from raftoral.lang.compile import queries
from raftoral.replay.history import CallbackOpened
from raftoral.testing import Takes
from tests.lang.driving import unit
from tests.lang.worlds import counted, history, told, world


# ------------------------------------------------------------------ paths
def test_branches_of_a_parallel_have_its_name_and_theirs() -> None:
    """The steps of `parallel as got { branch flight ... }` stand under `got/flight`."""
    text = """
    workflow w version 1 () -> int {
      parallel as got {
        branch flight { compute seat = a.b(1) give seat }
        branch room { checkpoint state = "new" sleep 1s give 2 }
      }
      return got.flight + got.room
    }"""
    assert history(text) == [
        "Opened got with 2 branches",
        "Set got/room/state = 'new'",
        "Done got/flight/seat = a.b(1) -> 1",
        "TimerSet got/room/sleep#0 due 2026-01-01T00:00:01Z",
        "TimerFired got/room/sleep#0",
        "Closed got in the order 0, 1",
        "Ended completed 3",
    ]


@pytest.mark.parametrize(
    ("head", "paths"),
    [
        ("for p in ps parallel collect pages", ["pages[0]", "pages[1]"]),
        ("for p in ps by p.id parallel collect pages", ["pages[p-17]", "pages[p-3]"]),
        ("for p in ps by p.n parallel", ["p[17]", "p[3]"]),
        ("for p in ps by p.id", ["p[p-17]", "p[p-3]"]),
        ("for i, p in ps", ["p[0]", "p[1]"]),
    ],
)
def test_turns_have_a_number_or_the_key_that_by_names(head: str, paths: list[str]) -> None:
    """`pages[3]`, or `pages[p-17]` with `by`; without a name the variable stands for the loop."""
    text = f"""
    record P {{ id: string  n: int }}
    workflow w version 1 (ps: list<P>) {{
      {head} {{ compute y = a.b(p.n) {"give y" if "collect" in head else 'log "{y}"'} }}
    }}"""
    events = history(text, [[{"id": "p-17", "n": 17}, {"id": "p-3", "n": 3}]])
    done = [e.split()[1].split("/")[0] for e in events if e.startswith("Done")]
    assert done == paths


def test_the_block_of_an_arm_stands_where_the_race_stands() -> None:
    """What competes is in the scope of the race; what follows is not, as in a `case`."""
    text = """
    workflow w version 1 () -> string {
      signal go(by: string)
      race {
        on go as v { compute y = a.b(1) return "{v.by} {y}" }
        after 1h { compute y = a.b(2) return "late {y}" }
      }
    }"""
    assert history(text) == [
        "Opened race#0 with 2 branches",
        "TimerSet race#0/after/sleep#0 due 2026-01-01T01:00:00Z",
        "TimerFired race#0/after/sleep#0",
        "Closed race#0 in the order 1, 0",
        "Done y = a.b(2) -> 2",
        "Ended completed 'late 2'",
    ]


def test_two_loops_of_one_name_are_told_apart() -> None:
    """The second parallel loop over `x` is `x#1`."""
    text = """
    workflow w version 1 () {
      for x in [1] parallel { compute a.b(x) }
      for x in [2] parallel { compute a.b(x) }
      for x in [3] { compute a.b(x) }
    }"""
    done = [e.split()[1] for e in history(text) if e.startswith("Done")]
    assert done == ["x[0]/compute#0", "x#1[0]/compute#0", "x#2[0]/compute#0"]


# ------------------------------------------------------------------ language 1.5, the six points
def test_1_a_signal_never_interrupts_a_statement() -> None:
    """Signals wait in a mailbox, first come first served, until an `await` takes one."""
    text = """
    workflow w version 1 () -> list<int> {
      signal s(n: int)
      compute one = a.b(1)
      await s as first
      await s as second
      return [one, first.n, second.n]
    }"""
    made = world(text, mocks={"a.b": lambda x: Takes("30s", x)})
    made.at("1s", lambda: made.signal("run", "s", {"n": 7}))
    made.at("2s", lambda: made.signal("run", "s", {"n": 8}))
    assert told(made)[0] == "Done one = a.b(1) -> 1"
    assert made.result() == [1, 7, 8]


def test_2_a_branch_sees_what_was_before_it_and_gives_its_result() -> None:
    """Outer variables are read in branches; branches do not see each other's."""
    text = """
    workflow w version 1 (n: int) -> list<int> {
      var size = 2
      size = size + 1
      for x in range(n) parallel collect out {
        var mine = x * size
        compute y = a.b(mine)
        mine = mine + y
        give mine
      }
      return out
    }"""
    made = world(text, [3])
    told(made)
    assert made.result() == [0, 6, 12]


def test_3_a_cancelled_compute_is_waited_for_and_then_the_run_cleans_up() -> None:
    """`Cancelled` arrives at the effect under way; what the handler does is done."""
    note, notes = counted()
    text = """
    workflow w version 1 () {
      try { compute a.b(1) } catch Cancelled as stop {
        compute a.undo(1)
        fail stop
      } finally { log "over" }
    }"""
    made = world(text, mocks={"a.b": lambda x: Takes("50s", x), "a.undo": note})
    made.at("10s", lambda: made.cancel("run", "enough"))
    assert told(made)[-3:] == [
        "Done compute#1 = a.undo(1) -> None",
        "Logged log#0 'over'",
        "Ended cancelled ['Cancelled', 'enough', {}]",
    ]
    assert notes == [1]
    assert made.status("run") == "cancelled"


def test_4_the_pause_before_a_retry_is_recorded_and_outlives_the_owner() -> None:
    """The moment of the next attempt is in the history, jitter and all, so a crash changes nothing."""
    text = """
    workflow w version 1 () -> int {
      compute y = a.b(1) retry 3 backoff 1m..1h jitter 50%
      return y
    }"""

    def story(*, crash: bool) -> list[str]:
        tries: list[int] = []

        def failing(x: int) -> int:
            tries.append(x)
            if len(tries) < 3:
                raise WorkflowFailed("Unavailable")
            return x

        made = world(text, mocks={"a.b": failing})
        if crash:
            made.at("10s", made.crash)
        return [line for line in told(made) if line.startswith(("Retry", "Done"))]

    assert story(crash=True) == story(crash=False)
    assert len(story(crash=False)) == 3


def test_5_what_a_compensation_is_given_is_fixed_when_its_step_is_done() -> None:
    """A variable that changes afterwards does not change what is taken back."""
    note, notes = counted()
    text = """
    workflow w version 1 () {
      var level = 1
      saga {
        for x in [10, 20] {
          compute y = a.b(x) compensate a.undo(y + level)
          log text(y)
          level = level + 1
        }
        fail Bad(x: level)
      }
    }"""
    events = history(text, mocks={"a.undo": note})
    assert notes == [22, 11]
    assert events[-3:] == [
        "Done undo/x[1]/y = a.undo(22) -> None",
        "Done undo/x[0]/y = a.undo(11) -> None",
        "Ended failed ['Bad', '', {'x': 3}]",
    ]


@pytest.mark.parametrize("way", ["return 1", "fail Bad(x: 1)", 'require false else "no"'])
def test_6_finally_runs_whatever_happened(way: str) -> None:
    """On success, on failure, and with its effects."""
    text = f"""
    workflow w version 1 () -> int {{
      try {{ {way} }} finally {{ compute a.b(9) }}
      return 2
    }}"""
    if not way.startswith("require"):
        text = text.replace("return 2", "")
    assert history(text)[0] == "Done compute#0 = a.b(9) -> 9"


# ------------------------------------------------------------------ parallel
def test_the_first_error_cancels_the_others_and_is_raised() -> None:
    """The others are told, waited for, and only then the error goes on."""
    text = """
    workflow w version 1 () -> string {
      try {
        parallel {
          branch a { try { sleep 1h } finally { log "cleaned up" } }
          branch b { sleep 1m fail Bad(x: 1) }
        }
        return "fine"
      } catch Bad as bad { return "bad {bad.x}" }
    }"""
    made = world(text)
    events = told(made)
    assert "Logged parallel#0/a/log#0 'cleaned up'" in events
    assert "Closed parallel#0 in the order 1, 0" in events
    assert made.result() == "bad 1"


@pytest.mark.parametrize(
    ("bounds", "fails", "result"),
    [
        ("min 2", {1}, [0, None, 2]),
        ("min 3", {1}, "Bad"),
        ("tolerate 1", {2}, [0, 1, None]),
        ("tolerate 0", {2}, "Bad"),
        ("tolerate 34%", {0}, [None, 1, 2]),
        ("tolerate 33%", {0}, "Bad"),
        ("limit 1 min 1", set(), [0, None, None]),
        ("limit 2 tolerate 3", {0, 1, 2}, [None, None, None]),
    ],
)
def test_bounds_say_how_many_must_succeed_and_may_fail(
    bounds: str, fails: set[int], result: Any
) -> None:
    """What failed or was not needed is none; beyond the bound the first error is raised."""
    text = f"""
    workflow w version 1 (bad: list<int>) -> list<int?> {{
      for x in range(3) parallel {bounds} collect out {{
        compute y = a.b(x)
        require y not in bad else Bad(x: y)
        give y
      }}
      return out
    }}"""
    made = world(text, [sorted(fails)])
    told(made)
    if result == "Bad":
        with pytest.raises(WorkflowFailed, match="Bad"):
            made.result()
    else:
        assert made.result() == result


@pytest.mark.parametrize(
    ("bounds", "fails", "ends"),
    [
        ("outcomes", {1}, "0 Bad: bad 1 2"),
        ("outcomes", {0, 1, 2}, "Bad: bad 0 Bad: bad 1 Bad: bad 2"),
        ("limit 1 min 1 outcomes", {0}, "Bad: bad 0 1 open"),
        ("min 3 outcomes", {1}, "0 Bad: bad 1 2"),
        ("limit 1 tolerate 0 outcomes", {1}, "0 Bad: bad 1 open"),
        ("limit 1 tolerate 34% outcomes", {0, 1}, "Bad: bad 0 Bad: bad 1 open"),
        ("limit 1 min 2 tolerate 0 outcomes", {0}, "Bad: bad 0 open open"),
    ],
)
@pytest.mark.parametrize("form", ["parallel", "for"])
def test_outcomes_tell_how_each_branch_ended(
    form: str, bounds: str, fails: set[int], ends: str
) -> None:
    """Completed with a value, failed with a name and a message, or unfinished; the group never fails."""
    body = 'compute y = a.b({}) require y not in bad else Bad(x: y, message: "bad {{y}}") give y'
    each = [f"branch b{n} {{ {body.format(n)} }}" for n in range(3)]
    group = {
        "for": f"for x in range(3) parallel {bounds} collect all {{ {body.format('x')} }}",
        "parallel": f"parallel {bounds} as got {{ {' '.join(each)} }} "
        "let all = [got.b0, got.b1, got.b2]",
    }
    text = f"""
    fn told(one: outcome<json>) -> string {{
      match one {{
        case outcome.Completed(value) {{ return text(value) }}
        case outcome.Failed(name, message) {{ return "{{name}}: {{message}}" }}
        case outcome.Unfinished {{ return "open" }}
      }}
    }}
    workflow w version 1 (bad: list<int>) -> string {{
      {group[form]}
      return join([told(one) for one in all], " ")
    }}"""
    made = world(text, [sorted(fails)])
    told(made)
    assert made.result() == ends


def test_outcomes_are_values() -> None:
    """They are recorded, asked for, returned, compared and read again by their type."""
    text = """
    workflow w version 1 () -> list<outcome<int>> {
      checkpoint seen: list<outcome<int>> = []
      query open -> int = count(one is outcome.Unfinished for one in seen)
      query first -> outcome<int>? = first(seen)
      for x in range(3) parallel limit 1 tolerate 0 outcomes collect ends {
        require x != 1 else "no"
        give x
      }
      seen = ends
      let again = decode(list<outcome<int>>, ends)
      require again == ends and hash(again) == hash(ends) else "another"
      return ends
    }"""
    made = world(text)
    told(made)
    assert made.result() == [
        ["Completed", {"value": 0}],
        ["Failed", {"message": "no", "name": "Failed"}],
        "Unfinished",
    ]
    asked = queries(unit("error Bad { x: int }" + text).ir)
    assert asked["open"]({"seen": made.result()}) == 1
    assert asked["first"]({"seen": made.result()}) == ["Completed", {"value": 0}]


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ('parallel limit n { branch a { log "a" } }', "OutOfRange"),
        ("for x in [1] parallel min n { compute a.b(x) }", "OutOfRange"),
        ("for x in [1, 1] by x parallel { compute a.b(x) }", "BadKey"),
        ('for x in ["a/b"] by x { log x }', "BadKey"),
        ("for x in range(5_000) parallel { compute a.b(x) }", "TooLarge"),
        ('compute a.b(1) key "a/b"', "BadKey"),
        ("compute a.b(1) deadline 0s", "OutOfRange"),
    ],
)
def test_a_bound_that_makes_no_sense_is_a_failure_with_a_name(program: str, name: str) -> None:
    """It can be caught, like any other failure of the run."""
    text = f"workflow w version 1 (n: int = 0) {{ {program} log text(n) }}"
    made = world(text)
    told(made)
    with pytest.raises(WorkflowFailed) as caught:
        made.result()
    assert caught.value.name == name


def test_fuel_is_counted_by_branch_and_nothing_catches_its_end() -> None:
    """A branch without an end fails the run, however it is caught; its sisters have their own fuel."""
    text = """
    workflow w version 1 () -> int {
      try {
        for x in range(3) parallel {
          var n = 0
          while n < 600_000 max 600_000 { n = n + 1 }
          compute a.b(n)
        }
      } catch { return 1 } finally { log "never" }
      return 0
    }"""
    made = world(text)
    assert not any("never" in line for line in told(made))
    with pytest.raises(WorkflowFailed, match="FuelExhausted"):
        made.result()


# ------------------------------------------------------------------ race
def test_a_race_gives_what_its_winner_gives() -> None:
    """`give` in an arm or a branch is the value of the race."""
    text = """
    workflow w version 1 () -> string {
      signal s(x: int)
      race as r {
        on s as v { give "signal {v.x}" }
        branch b { compute y = a.b(3) give "branch {y}" }
        after 1h { give "time" }
      }
      return r
    }"""
    made = world(text.replace("1h", "1s"), mocks={"a.b": lambda x: Takes("2s", x)})
    told(made)
    assert made.result() == "time"
    other = world(text)
    told(other)
    assert other.result() == "branch 3"


def test_a_loser_takes_back_what_it_has_done() -> None:
    """The compensations of a branch that lost run before the race is over."""
    note, notes = counted()
    text = """
    workflow w version 1 () -> int {
      race as r {
        branch slow {
          compute y = a.b(5) compensate a.undo(y)
          sleep 1h
          give y
        }
        after 1m { give 0 }
      }
      return r
    }"""
    made = world(text, mocks={"a.undo": note})
    told(made)
    assert made.result() == 0
    assert notes == [5]


def test_the_arms_of_a_race_without_a_name_let_give_through() -> None:
    """A `give` in its arms is that of the branch around."""
    text = """
    workflow w version 1 () -> int {
      signal s(x: int)
      for n in [1] parallel collect out {
        race { on s as v { give v.x } after 1m { give n } }
      }
      return out[0]
    }"""
    made = world(text)
    told(made)
    assert made.result() == 1


# ------------------------------------------------------------------ sagas
def test_undo_takes_back_on_purpose_and_only_once() -> None:
    """After an `undo` there is nothing left to take back."""
    note, notes = counted()
    text = """
    workflow w version 1 () {
      saga {
        compute y = a.b(1) compensate a.undo(y)
        undo
        compute z = a.b(2) compensate a.undo(z)
        fail "later"
      }
    }"""
    history(text, mocks={"a.undo": note})
    assert notes == [1, 2]


def test_a_compensation_has_retries_of_its_own() -> None:
    """One that fails is tried again as its clauses say."""
    tries: list[int] = []

    def failing(x: int) -> None:
        tries.append(x)
        if len(tries) < 3:
            raise WorkflowFailed("Unavailable")

    text = """
    workflow w version 1 () {
      saga {
        compute y = a.b(1) compensate a.undo(y) retry 5 backoff 1s..1s
        fail Bad(x: y)
      }
    }"""
    events = history(text, mocks={"a.undo": failing})
    assert tries == [1, 1, 1]
    assert events[-2] == "Done undo/y = a.undo(1) -> None (3 attempts)"


def test_a_compensation_whose_arguments_fail_fails_the_step() -> None:
    """What cannot be taken back is told at once, not when it is needed."""
    text = """
    workflow w version 1 () -> string {
      saga {
        try { compute y = a.b(1) compensate a.undo(y // 0) return "{y}" }
        catch DivisionByZero as e { return e.name }
      }
    }"""
    made = world(text)
    told(made)
    assert made.result() == "DivisionByZero"


# ------------------------------------------------------------------ children
CHILD = """
workflow child version 2 (n: int, m: int = 5) -> int raises Bad {
  if n < 0 { fail Bad(x: n) }
  compute y = a.b(n + m)
  return y
}
"""


def test_a_child_is_asked_for_by_name_and_version() -> None:
    """Defaults are filled in by the parent; the result comes back with its type."""
    text = (
        CHILD
        + """
    workflow w version 1 () -> int {
      call r = child(n: 2)
      start detached = child(1)
      log detached
      return r + 1
    }"""
    )
    made = world(text)
    events = told(made)
    assert events[0].startswith("ChildAsked r = child v2")
    assert made.result() == 8
    assert made.result("run/0/detached") == 6


def test_the_failure_of_a_child_has_its_name_and_fields() -> None:
    """It is caught like that of an activity."""
    text = (
        CHILD
        + """
    workflow w version 1 () -> int {
      try { call r = child(n: -3) return r } catch Bad as bad { return bad.x }
    }"""
    )
    made = world(text)
    told(made)
    assert made.result() == -3


def test_a_result_that_is_not_as_the_contract_says_is_bad() -> None:
    """What a child of another team gives is checked against the contract that was written."""
    text = """
    workflow other version 1 () -> string { return "text" }
    workflow w version 1 () -> int {
      call r = child()
      return r
    }
    workflow child version 1 () -> int"""
    contract = world(text.replace("workflow other", "workflow child2"), name="w")
    contract.run()
    with pytest.raises(WorkflowFailed):
        contract.result()


def test_restart_begins_anew_and_keeps_the_mailbox() -> None:
    """A signal that was not taken is there in the next generation."""
    text = """
    workflow w version 1 (n: int = 0, seen: list<string> = []) -> list<string> {
      signal s(t: string)
      if n == 2 { return seen + ["{self.generation}"] }
      await s as v
      restart with (n: n + 1, seen: seen + [v.t])
    }"""
    made = world(text)
    made.signal("run", "s", {"t": "a"})
    made.signal("run", "s", {"t": "b"})
    told(made)
    assert made.result() == ["a", "b", "2"]


# ------------------------------------------------------------------ whoever is outside
def test_a_callback_is_completed_by_its_token() -> None:
    """The token is a text; what completes it is checked against the declared type."""
    text = """
    workflow w version 1 () -> string {
      callback done: int timeout 1d
      log "token {len(done.token) > 10}"
      try { await done as n return "{n + 1}" } catch BadResult as bad { return bad.name }
    }"""
    for value, result in ((4, "5"), ("four", "BadResult")):
        made = world(text)
        made.run(until=lambda: any(isinstance(e, CallbackOpened) for e in made.events()))  # noqa: B023
        token = next(e.token for e in made.events() if isinstance(e, CallbackOpened))
        made.complete(token, value)
        told(made)
        assert made.result() == result


def test_an_update_is_answered_or_refused_and_the_run_waits_on() -> None:
    """What the answer fails with is told to the sender; only a request that is taken goes on."""
    text = """
    fn checked(n: int) -> int {
      require n > 0 else Bad(x: n)
      return n * 2
    }
    workflow w version 1 () -> int {
      update add(n: int) -> int
      await add as wish answer checked(wish.n)
      return wish.n
    }"""
    made = world(text)
    refused = made.update("run", "add", {"n": -1})
    taken = made.update("run", "add", {"n": 4})
    made.run()
    assert made.answer("run", taken) == 8
    with pytest.raises(WorkflowFailed, match="Bad"):
        made.answer("run", refused)
    assert made.result() == 4


def test_a_query_is_asked_of_the_committed_cells_alone() -> None:
    """It is an expression of the checkpoints; one without a value yet is told."""
    text = """
    workflow w version 1 () {
      query total -> int = count * 2 + len(names)
      checkpoint count = 1
      checkpoint names = ["a"]
      sleep 1d
    }"""
    asked = queries(unit(text).ir)
    assert asked["total"]({"count": 4, "names": ["a", "b"]}) == 10
    with pytest.raises(InvalidInput, match="names, which has no value yet"):
        asked["total"]({"count": 4})


def test_self_is_what_the_first_event_says() -> None:
    """Id, version, start, parent and generation are known without asking anybody."""
    text = """
    workflow child version 1 () -> string { log "c" return "{self.parent} {self.id}" }
    workflow w version 3 () -> string {
      call c = child()
      return "{self.id} {self.version} {self.started} {self.parent} {self.generation} {c}"
    }"""
    made = world(text)
    told(made)
    assert made.result() == "run 3 2026-01-01T00:00:00.000Z none 0 run run/0/c"


def test_at_most_once_and_deadline_reach_the_engine() -> None:
    """Each clause is the option of the same name."""
    text = """
    workflow w version 1 () {
      compute a.b(1) at_most_once
      compute a.b(2) deadline 2m timeout 1m
    }"""
    events = history(text, mocks={"a.b": lambda x: Takes("3m", x) if x == 2 else x})
    assert events[0] == "Asked compute#0 attempt 1"
    assert "Timeout" in events[-1]


def test_a_key_leaves_room_for_the_name_of_its_loop() -> None:
    """A part of a path has 200 characters: with a long name in front the key of a turn has fewer."""
    text = """
    workflow w version 1 (key: string) -> string {{
      try {{ for {0} in [key] by {0} {{ log {0} }} }} catch BadKey as bad {{ return bad.message }}
      return "fine"
    }}"""
    for name, count, says in (
        ("x", 150, "fine"),
        ("x" * 100, 98, "fine"),
        ("x" * 100, 99, "a key has 1 to 98 printable characters, no `/` and no `]`"),
        ("x", 151, "a key has 1 to 150 printable characters, no `/` and no `]`"),
    ):
        made = world(text.format(name), ["k" * count])
        told(made)
        assert made.result() == says
