from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral_repl.commands import COMMANDS, execute
from raftoral_repl.suggest import SUGGESTIONS_MAX, suggest
from tests.repl.sessions import python_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral_repl.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    """A session that stands at the payment."""
    made = python_session()
    execute(made, "goto payment")
    yield made
    made.close()


def words(session: Session, text: str) -> list[str]:
    """Return what is suggested behind ``text``."""
    return [one.text for one in suggest(text, len(text), session)]


def test_the_first_word_is_a_command(session: Session) -> None:
    """Commands by their beginning, all of them on an empty line."""
    assert words(session, "") == [command.name for command in COMMANDS]
    assert words(session, "s") == ["step", "show"]
    assert words(session, "x") == []


def test_arguments_by_what_the_command_takes(session: Session) -> None:
    """Paths, variables, event numbers and commands, also behind a short form."""
    assert words(session, "goto p") == ["payment"]
    assert words(session, "g lamp") == ["lamp/reservation"]
    assert words(session, "diff 1 e") == ["end"]
    assert words(session, "vars ord") == ["order"]
    assert words(session, "vars order st") == ["status"]
    assert words(session, "show 1") == ["1", "10", "11", "12"]
    assert words(session, "help wh") == ["where"]
    assert words(session, "step ") == []
    assert words(session, "nonsense ") == []


def test_the_cursor_counts_and_not_the_end_of_the_line(session: Session) -> None:
    """Only the word in front of the cursor is completed and replaced."""
    (one,) = suggest("goto pay rest", len("goto pay"), session)
    assert (one.text, one.replaces) == ("payment", 3)


def test_suggestions_are_bounded(session: Session) -> None:
    """A long history does not flood the terminal."""
    session.stepper.trace.events *= 100
    assert len(words(session, "show ")) == SUGGESTIONS_MAX
