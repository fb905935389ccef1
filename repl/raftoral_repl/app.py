"""The loop of the debugger: reads a line, executes it, prints, survives Ctrl-C.

Knows neither rich nor prompt-toolkit: it is handed a screen and a reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from raftoral.errors import RaftoralError
from raftoral_repl.commands import BadCommand, Quit, execute, moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

    from raftoral_repl.render import Screen
    from raftoral_repl.session import Session

DONE, FAILED, BAD_SCRIPT = 0, 1, 3
"""Exit codes: 1 where the code leaves the history, 3 for a script with a bad command."""


class Reader(Protocol):
    """Where commands come from."""

    def read(self, prompt: str) -> str:
        """Return the next line; `EOFError` when there is none."""
        ...


class PlainReader:
    """Reads a stream that is no terminal, and writes each line behind its prompt."""

    def __init__(self, lines: TextIO, echo: Callable[[str], None]) -> None:
        self._lines = lines
        self._echo = echo

    def read(self, prompt: str) -> str:
        """Return the next line without its end."""
        line = self._lines.readline()
        if not line:
            raise EOFError
        self._echo(f"{prompt}{line.rstrip()}".rstrip())
        return line.rstrip("\n")


def greet(session: Session, screen: Screen) -> None:
    """Say what was opened, and where it stands."""
    view, total = session.view, len(session.stepper.trace)
    screen.say(f"run {view.run_id} of {view.name} version {view.version}, {total} events", "bold")
    for note in session.program.notes:
        screen.say(f"note: {note}", "yellow")
    screen.show(moved(session, session.stepper.show()))


def converse(session: Session, screen: Screen, reader: Reader) -> int:
    """Answer commands until the user leaves; always 0: nothing typed ends the session badly."""
    greet(session, screen)
    while True:
        try:
            answer = execute(session, reader.read(session.prompt))
            if isinstance(answer, Quit):
                return DONE
            screen.show(answer)
        except EOFError:
            return DONE
        except KeyboardInterrupt:
            screen.say("interrupted; `quit` or Ctrl-D leaves", "yellow")
        except RaftoralError as error:
            screen.error(str(error))


def run_script(session: Session, screen: Screen, lines: Iterable[str], name: str) -> int:
    """Run the commands of a script and print the session.

    Empty lines and lines that begin with ``#`` are left out. Stops at the first bad command with 3;
    the answer is 1 if the code left the history at any stop, else 0.
    """
    greet(session, screen)
    diverged = session.stepper.here.diverged is not None
    for number, line in _commands(lines):
        screen.say(session.prompt + line)
        try:
            answer = execute(session, line)
        except BadCommand as error:
            screen.error(f"{name}:{number}: {error}")
            return BAD_SCRIPT
        except RaftoralError as error:
            screen.error(f"{name}:{number}: {error}")
            return FAILED
        if isinstance(answer, Quit):
            break
        screen.show(answer)
        diverged |= session.stepper.here.diverged is not None
    return FAILED if diverged else DONE


def _commands(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text
