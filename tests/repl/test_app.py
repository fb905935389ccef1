from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from raftoral import Flow, Log, Registry, workflow
from raftoral.registry.python import start_python
from raftoral.replay.history import Logged, Set, encode
from raftoral_repl.app import PlainReader, converse, run_script
from raftoral_repl.commands import COMMANDS, WINDOW_EVENTS, execute, find
from raftoral_repl.render import Screen, printable
from raftoral_repl.session import Session, open_session, program_of
from tests.repl import shop
from tests.repl.recorded import record, view_of
from tests.repl.sessions import other_code, python_session, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lines:
    """A user who types what is given, and presses Ctrl-C for an exception."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines = iter(lines)

    def read(self, prompt: str) -> str:
        """Return the next line, or raise it."""
        line = next(self._lines, EOFError)
        if isinstance(line, str):
            return line
        raise line


@pytest.fixture
def session() -> Iterator[Session]:
    """A session on the recorded order."""
    made = python_session()
    yield made
    made.close()


def talk(session: Session, *lines: str | type[BaseException]) -> str:
    """Return what a session prints."""
    out = io.StringIO()
    assert converse(session, Screen(out), Lines(*lines)) == 0
    return out.getvalue()


# ------------------------------------------------------------------ the loop
def test_an_empty_line_repeats_the_last_movement(session: Session) -> None:
    """Enter steps on, also after a command that only looks; back and goto repeat as well."""
    talk(session, "step 2", "vars", "", "")
    assert session.stepper.here.position == 7
    talk(session, "back", "", "")
    assert session.stepper.here.position == 4
    execute(session, "goto 0")
    talk(session, "goto lamp/reservation", "")
    assert session.stepper.here.position == 3


def test_enter_steps_when_nothing_was_moved_yet(session: Session) -> None:
    """The first empty line is a step."""
    talk(session, "")
    assert session.stepper.here.position == 2


def test_a_movement_that_failed_is_not_repeated(session: Session) -> None:
    """A mistyped command leaves the last movement as it was."""
    talk(session, "step", "goto nowhere", "")
    assert session.stepper.here.position == 3


def test_ctrl_c_and_mistakes_do_not_end_the_session(session: Session) -> None:
    """An interrupt and an error are told, and the next command is answered."""
    said = talk(session, KeyboardInterrupt, "nonsense", "step")
    assert "interrupted" in said
    assert "error: `nonsense` is no command" in said
    assert session.stepper.here.position == 2


def test_ctrl_d_and_quit_leave(session: Session) -> None:
    """Both end the session; nothing behind quit is read."""
    talk(session, EOFError)
    talk(session, "quit", "step")
    assert session.stepper.here.position == 1


def test_an_interrupted_command_leaves_the_session_where_it_was() -> None:
    """Ctrl-C while code runs stops the command and not the session."""
    pressed = []

    @workflow("slow", version=1)
    def slow() -> Flow[None]:
        """Be interrupted behind the first line, the first time."""
        yield from Log("one")
        if pressed:
            pressed.pop()
            raise KeyboardInterrupt
        yield from Log("two")

    events = record(lambda started: start_python(slow, started), "slow", {}, {})
    view = view_of("slow", events, kind="python")
    session = open_session(view, program_of(view, None, Registry(workflows=[slow])))
    pressed.append(True)
    assert "interrupted" in talk(session, "step")
    assert session.stepper.here.position == 1
    talk(session, "step")
    assert session.stepper.here.position == 2
    session.close()


def test_lines_from_a_pipe_are_shown_behind_the_prompt(session: Session) -> None:
    """Without a terminal the output reads like a session."""
    out = io.StringIO()
    screen = Screen(out)
    converse(session, screen, PlainReader(io.StringIO("step\n\nwhere"), screen.say))
    assert "o-7719:1> step\n2/13" in out.getvalue()
    assert "o-7719:2>\n3/13" in out.getvalue()
    assert "o-7719:3> where\nrun " in out.getvalue()


# ------------------------------------------------------------------ scripts
def script(session: Session, text: str) -> tuple[int, str]:
    """Return exit code and output of a script."""
    out = io.StringIO()
    code = run_script(session, Screen(out), text.splitlines(), "steps")
    return code, out.getvalue()


def test_a_script_prints_its_session(session: Session) -> None:
    """Prompt and answer for each command; comments and empty lines are left out; 0."""
    code, out = script(session, "# look\n\nstep\nvars status\nquit\nnonsense\n")
    assert code == 0
    assert out.splitlines()[4:] == [
        "o-7719:1> step",
        "2/13  [1] Set status = 'received'",
        '  shop.py:52  done = yield from Compute("reservation", reserve, item).retry(3)',
        "  status = 'received', reservations = [], item = 'lamp'",
        "o-7719:2> vars status",
        "status  = 'received'",
        "o-7719:2> quit",
    ]


def test_a_bad_command_ends_a_script_with_3(session: Session) -> None:
    """The line of the script is named, and nothing behind it is done."""
    code, out = script(session, "step\ngoto nowhere\nstep\n")
    assert code == 3
    assert out.splitlines()[-1].startswith("error: steps:2: the history has no `nowhere`")
    assert session.stepper.here.position == 2


def test_a_divergence_makes_a_script_fail() -> None:
    """A script over code that leaves the history ends with 1, so it can be a check."""
    session = python_session(other_code())
    assert script(session, "step\n")[0] == 0
    assert script(session, "goto end\nback\n")[0] == 1
    session.close()


# ------------------------------------------------------------------ commands and output
def test_every_command_is_found_by_name_short_form_and_beginning() -> None:
    """No two commands share a name or a short form, and each has a help."""
    names = [name for command in COMMANDS for name in (command.name, command.short)]
    assert len(set(names)) == len(names)
    for command in COMMANDS:
        assert find(command.name) is find(command.short) is command
        assert find(command.name[:3]) is command
        assert command.help


def test_a_long_history_is_shown_around_the_place() -> None:
    """Some events on either side, and how many there are beyond; all on demand."""

    @workflow("chatty", version=1)
    def chatty() -> Flow[None]:
        """Write many lines."""
        for number in range(100):
            yield from Log(f"line {number}")

    events = record(lambda started: start_python(chatty, started), "chatty", {}, {})
    view = view_of("chatty", events, kind="python")
    session = open_session(view, program_of(view, None, Registry(workflows=[chatty])))
    execute(session, "goto 50")
    rows = shown(session, "history").splitlines()
    assert len(rows) == 2 * WINDOW_EVENTS + 3
    assert rows[0] == "  ..  35 before; `history all` shows everything"
    assert rows[WINDOW_EVENTS + 1] == "> 50  Logged log#49 'line 49'"
    assert len(shown(session, "history all").splitlines()) == 102
    session.close()


def test_nothing_in_a_history_controls_the_terminal() -> None:
    """Escape sequences in paths and sources are written out."""
    assert printable("a\x1b[31mb\tc\x07") == "a\\x1b[31mb c\\x07"
    assert printable("Grüße") == "Grüße"
    view = view_of("order", [encode(Set("\x1b[2J", 1)), encode(Logged("l", "\x1b[2J"))])
    session = open_session(view, program_of(view, None, shop.registry))
    assert "\x1b" not in shown(session, "history") + shown(session, "show 1")
