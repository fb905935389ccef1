"""Answers as text: the only rich. In a pipe or a script the same text comes plain.

Nothing that a history or a source holds reaches the terminal as a control sequence.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final, assert_never

from rich.console import Console
from rich.text import Text

from raftoral.replay.wording import describe
from raftoral_repl.commands import Answer, Listing, Moved, Quit, Table

if TYPE_CHECKING:
    from typing import TextIO

    from raftoral.replay.trace import Change

PLAIN_COLUMNS: Final = 100
VALUE_COLUMNS: Final = 40
"""How wide plain output is, and how much of a changed value a stop shows."""


class Screen:
    """Where answers go. ``terminal`` allows colour and takes the terminal's own width."""

    def __init__(self, out: TextIO, *, terminal: bool = False) -> None:
        self._console = Console(
            file=out,
            width=None if terminal else PLAIN_COLUMNS,
            color_system="auto" if terminal else None,
            force_terminal=None if terminal else False,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def say(self, text: str, style: str = "") -> None:
        """Print one line, or several."""
        for line in text.splitlines():
            self._console.print(Text(printable(line), style), soft_wrap=True)

    def error(self, text: str) -> None:
        """Print what went wrong with a command."""
        self.say(f"error: {text}", "red")

    def show(self, answer: Answer) -> None:
        """Print an answer."""
        match answer:
            case Moved():
                self._moved(answer)
            case Listing(place, lines, current):
                self.say(PurePath(place).name, "dim")
                gutter = len(str(lines[-1][0])) if lines else 1
                painted = place.endswith(".rwf") and self._console.color_system is not None
                for number, text in lines:
                    mark = ">" if number == current else " "
                    style = "bold" if number == current else ""
                    if painted:
                        self._paint(Text(f"{mark} {number:>{gutter}}  ", style), text)
                    else:
                        self.say(f"{mark} {number:>{gutter}}  {text}".rstrip(), style)
            case Table():
                self._table(answer)
            case Quit():
                pass
            case _:
                assert_never(answer)

    def _paint(self, line: Text, code: str) -> None:
        """Print a line of a workflow in the colours of its words."""
        from rich.syntax import Syntax

        from raftoral.lang.lexer import RwfLexer

        words = Syntax("", RwfLexer(), theme="ansi_dark").highlight(printable(code))
        words.rstrip()
        self._console.print(line.append_text(words), soft_wrap=True)

    def _moved(self, moved: Moved) -> None:
        move, stop = moved.move, moved.move.stop
        event = "before the first event"
        if move.event is not None:
            event = f"[{stop.position - 1}] {describe(move.event)}"
        self.say(self._cut(f"{stop.position}/{move.total}  {event}"), "cyan")
        if stop.ended or not stop.line:
            self.say("  the workflow has ended" if stop.ended else "  nothing has run yet")
        else:
            self.say(self._cut(f"  {PurePath(stop.place).name}:{stop.line}  {moved.statement}"))
        changed = ", ".join(map(_change, move.changed)) or "no variable changed"
        self.say(self._cut(f"  {changed}"), "green" if move.changed else "dim")
        if stop.diverged is not None:
            self.say(f"  the code leaves the history at event {stop.position}", "bold red")
            self.say(f"    recorded  {stop.diverged.recorded}", "red")
            self.say(f"    yielded   {stop.diverged.yielded}", "red")
            self.say(f"    at        {PurePath(stop.diverged.where).name}", "red")
            for line in filter(None, stop.diverged.why):
                self.say(f"    {line}", "yellow")
        if move.note:
            self.say(f"  {move.note}", "yellow")

    def _table(self, table: Table) -> None:
        columns = max(len(row) for row in table.rows)
        widths = [
            max((len(printable(row[n])) for row in table.rows if n < len(row) - 1), default=0)
            for n in range(columns)
        ]
        for number, row in enumerate(table.rows):
            cells = [printable(cell).ljust(width) for cell, width in zip(row, widths, strict=False)]
            mark = "" if table.marked is None else ("> " if number == table.marked else "  ")
            line = (mark + "  ".join(cells)).rstrip()
            style = "bold" if table.marked == number else ""
            self.say(line if table.whole else self._cut(line), style)

    def _cut(self, line: str) -> str:
        return _short(line, self._console.width)


def _change(change: Change) -> str:
    if change.after is None:
        return f"{change.name} is gone"
    return f"{change.name} = {_short(change.after, VALUE_COLUMNS)}"


def _short(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 3]}..."


def printable(text: str) -> str:
    """Return ``text`` with every control character written out, tabs as blanks."""
    if text.isprintable():
        return text
    expanded = text.expandtabs(4)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in expanded)
