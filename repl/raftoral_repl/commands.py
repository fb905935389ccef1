"""The commands: one table, and a function from session and words to an answer for each.

Owns what the user may type. An answer is a value; `render` makes it visible. What the user got
wrong is a `BadCommand`, and the session goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from raftoral.errors import UsageError
from raftoral.lang.diagnostics import did_you_mean
from raftoral.replay.history import Done, Retry, Started, TimerSet
from raftoral.replay.text import text_of
from raftoral.replay.trace import changes
from raftoral.replay.wording import describe, describe_call
from raftoral.values import instant_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.replay.history import Event
    from raftoral_repl.session import Session
    from raftoral_repl.stepper import Move

CONTEXT_LINES: Final = 5
WINDOW_EVENTS: Final = 15
"""How many lines of source, or events, are shown on either side of where we stand."""


class BadCommand(UsageError):
    """What was typed is no command, or not one that works here."""


# ------------------------------------------------------------------ answers
@dataclass(frozen=True, slots=True)
class Moved:
    """A stop, with the text of its statement ("" where there is none)."""

    move: Move
    statement: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Numbered lines of a source, one of them current (0: none)."""

    place: str
    lines: tuple[tuple[int, str], ...]
    current: int


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells to be aligned; ``marked`` is the number of the row we stand at, if any.

    ``whole`` says that long cells are shown to their end.
    """

    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Quit:
    """The session is over."""


Answer: TypeAlias = Moved | Listing | Table | Quit
Slot: TypeAlias = Literal["", "place", "position", "variable", "command"]
"""What the argument of a command is, for completion."""


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    name: str
    short: str
    argument: str
    help: str
    slot: Slot
    run: Callable[[Session, Sequence[str]], Answer]
    moves: bool = False


# ------------------------------------------------------------------ moving
def _step(session: Session, words: Sequence[str]) -> Answer:
    return moved(session, session.stepper.step(_count(words)))


def _back(session: Session, words: Sequence[str]) -> Answer:
    return moved(session, session.stepper.back(_count(words)))


def _goto(session: Session, words: Sequence[str]) -> Answer:
    if not words:
        raise BadCommand("goto where? A position, a path of the history, `start` or `end`")
    return moved(session, session.stepper.goto(_position(session, " ".join(words))))


def moved(session: Session, move: Move) -> Moved:
    """Return a move with the text of the statement it came to."""
    return Moved(move, _line(session, move.stop.place, move.stop.line).strip())


def _line(session: Session, place: str, line: int) -> str:
    lines = session.program.lines(place) if line else ()
    return lines[line - 1] if 0 < line <= len(lines) else ""


# ------------------------------------------------------------------ looking
def _list(session: Session, words: Sequence[str]) -> Answer:
    around = _count(words, CONTEXT_LINES)
    place, current = session.statement()
    lines = session.program.lines(place)
    if not lines:
        raise BadCommand(f"the source of {place or 'this workflow'} cannot be read here")
    first = max(1, current - around)
    shown = tuple(enumerate(lines[first - 1 : current + around], first))
    return Listing(place, shown, session.stepper.here.line)


def _vars(session: Session, words: Sequence[str]) -> Answer:
    known = session.stepper.here.known
    for word in words:
        if word not in known:
            hint = did_you_mean(word, known, "`vars` shows what has a value here")
            raise BadCommand(f"nothing is called `{word}` here; {hint}")
    names = list(dict.fromkeys(words)) or list(known)
    rows = tuple((name, f"= {known[name]}") for name in names)
    return Table(rows or (("no variable has a value here",),), None, bool(words))


def _history(session: Session, words: Sequence[str]) -> Answer:
    here = session.stepper.here.position
    rows = [(str(n), describe(event)) for n, event in enumerate(session.stepper.trace.events)]
    if words and words != ["all"]:
        text = " ".join(words)
        rows = [row for row in rows if text in row[1]]
        if not rows:
            raise BadCommand(f"no event has the text `{text}`")
    elif not words and len(rows) > 2 * WINDOW_EVENTS + 1:
        low, high = max(0, here - WINDOW_EVENTS), here + WINDOW_EVENTS + 1
        before, after = rows[:low], rows[high:]
        rows = rows[low:high]
        if before:
            rows.insert(0, ("..", f"{len(before)} before; `history all` shows everything"))
        if after:
            rows.append(("..", f"{len(after)} more; `history all` shows everything"))
    marked = next((n for n, row in enumerate(rows) if row[0] == str(here)), None)
    return Table(tuple(rows), marked)


def _show(session: Session, words: Sequence[str]) -> Answer:
    events = session.stepper.trace.events
    number = _number(words[0]) if words else max(0, session.stepper.here.position - 1)
    if len(words) > 1 or number >= len(events):
        raise BadCommand(f"show which event? They are numbered from 0 to {len(events) - 1}")
    event = events[number]
    rows = [("event", f"{number} of {len(events)}"), ("kind", type(event).__name__)]
    rows += [(name, _field(event, name, value)) for name, value in event._asdict().items()]
    return Table(tuple(rows), None, whole=True)


def _field(event: Event, name: str, value: Any) -> str:
    match event, name:
        case Done(), "call":
            return describe_call(value)
        case (Started(), "at") | (Retry(), "next_at") | (TimerSet(), "due"):
            return text_of(instant_of(value))
        case _:
            return text_of(value)


def _where(session: Session, _: Sequence[str]) -> Answer:
    here, view = session.stepper.here, session.view
    place, line = session.statement()
    rows = [
        ("run", f"{view.run_id} of {view.name} version {view.version}"),
        ("position", f"{here.position} of {len(session.stepper.trace)}"),
        ("at", f"{place}:{line}"),
    ]
    if here.line:
        rows.append(("statement", _line(session, place, line).strip()))
    if here.asks:
        rows.append(("asks", here.asks))
    if here.ended:
        rows.append(("ended", "yes"))
    if here.diverged is not None:
        rows.append(("diverged", f"recorded {here.diverged.recorded}"))
        rows.append(("", f"yielded {here.diverged.yielded}"))
    return Table(tuple(rows), None, whole=True)


def _diff(session: Session, words: Sequence[str]) -> Answer:
    if len(words) not in (1, 2):
        raise BadCommand("diff which positions? `diff A B`, or `diff A` against where we stand")
    trace, here = session.stepper.trace, session.stepper.here
    old = trace.at(_position(session, words[0]))
    new = trace.at(_position(session, words[1])) if len(words) == 2 else here
    rows = tuple(
        (one.name, one.before or "(none)", f"-> {one.after or '(none)'}")
        for one in changes(old, new)
    )
    return Table(rows or (("nothing differs",),))


def _help(_: Session, words: Sequence[str]) -> Answer:
    if words:
        command = find(words[0])
        return Table(((_usage(command), command.help),), None, whole=True)
    rows = [(each.name, each.short, each.argument, each.help) for each in COMMANDS]
    rows.append(("", "", "", "an empty line repeats the last movement; names may be shortened"))
    return Table(tuple(rows), None, whole=True)


def _quit(_: Session, __: Sequence[str]) -> Answer:
    return Quit()


def _usage(command: Command) -> str:
    return f"{command.name} {command.argument}".rstrip()


# ------------------------------------------------------------------ reading words
def _count(words: Sequence[str], default: int = 1) -> int:
    if not words:
        return default
    number = _number(words[0])
    if len(words) > 1 or number < 1:
        raise BadCommand(f"a count is one number from 1, not `{' '.join(words)}`")
    return number


def _number(word: str) -> int:
    if not (word.isascii() and word.isdecimal()) or len(word) > 9:
        raise BadCommand(f"`{word:.40}` is no number")
    return int(word)


def _position(session: Session, word: str) -> int:
    """Return the position that a word names: a number, `start`, `end`, a path or its beginning."""
    total = len(session.stepper.trace)
    if word.isascii() and word.isdecimal():
        number = _number(word)
        if number > total:
            raise BadCommand(f"there is no position {number}; they go from 0 to {total}")
        return number
    if word in ("start", "end"):
        return total if word == "end" else 0
    paths = session.stepper.paths()
    named = [path for path in paths if path == word] or [p for p in paths if p.startswith(word)]
    if len(named) == 1:
        return session.stepper.next_of(named[0])
    if named:
        raise BadCommand(f"`{word}` may be {', '.join(named[:5])}; write more of it")
    hint = did_you_mean(word, [*paths, "start", "end"], "`history` shows what there is")
    raise BadCommand(f"the history has no `{word:.40}`; {hint}")


COMMANDS: Final[tuple[Command, ...]] = (
    Command("step", "s", "[N]", "replay the next event, or N", "", _step, moves=True),
    Command("back", "b", "[N]", "take one event back, or N", "", _back, moves=True),
    Command(
        "goto",
        "g",
        "N|PATH|start|end",
        "go to a position, or to the next event of a path",
        "place",
        _goto,
        moves=True,
    ),
    Command("list", "l", "[N]", "source around the statement, N lines on either side", "", _list),
    Command("vars", "p", "[NAME...]", "what has a value here; whole for a name", "variable", _vars),
    Command("where", "w", "", "position, statement, and what it asks for", "", _where),
    Command(
        "history",
        "h",
        "[TEXT|all]",
        "the recorded events, the next one marked; or those with a text",
        "",
        _history,
    ),
    Command("show", "e", "[N]", "one event whole: the one replayed last, or N", "position", _show),
    Command("diff", "d", "A [B]", "what differs between two positions", "place", _diff),
    Command("help", "?", "[COMMAND]", "this table, or one row of it", "command", _help),
    Command("quit", "q", "", "leave (so does Ctrl-D)", "", _quit),
)


def find(word: str) -> Command:
    """Return the command of that name, short form or unique beginning; else `BadCommand`."""
    for command in COMMANDS:
        if word in (command.name, command.short):
            return command
    found = [command for command in COMMANDS if command.name.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(command.name for command in found)
        raise BadCommand(f"`{word}` may be {names}; write one letter more")
    hint = did_you_mean(word, [command.name for command in COMMANDS], "`help` shows the commands")
    raise BadCommand(f"`{word:.40}` is no command; {hint}")


def execute(session: Session, line: str) -> Answer:
    """Run one line and return its answer; an empty line repeats the last movement.

    Raises `BadCommand` for what the user has to write otherwise; the session is as before then.
    """
    name, *words = line.split() or session.last_move.split()
    if name.startswith("?") and len(name) > 1:
        name, words = "?", [name[1:], *words]
    command = find(name)
    answer = command.run(session, words)
    if command.moves:
        session.last_move = " ".join([command.name, *words])
    return answer
