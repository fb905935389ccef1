"""What may be typed next: a pure function of the line, the cursor and the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.replay.wording import describe
from raftoral_repl.commands import COMMANDS, BadCommand, Slot, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral_repl.session import Session

SUGGESTIONS_MAX = 50


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word that fits, and what it is; it replaces the ``replaces`` characters at the cursor."""

    text: str
    about: str
    replaces: int


def suggest(text: str, cursor: int, session: Session) -> list[Suggestion]:
    """Return the words that may stand at ``cursor``, best first, at most fifty."""
    words = text[:cursor].split(" ")
    typed = words[-1]
    before = [word for word in words[:-1] if word]
    if not before:
        pool = _arguments("command", session)
    else:
        try:
            pool = _arguments(find(before[0]).slot, session)
        except BadCommand:
            return []
    found = (Suggestion(word, about, len(typed)) for word, about in pool if word.startswith(typed))
    return [one for one, _ in zip(found, range(SUGGESTIONS_MAX), strict=False)]


def _arguments(slot: Slot, session: Session) -> Iterator[tuple[str, str]]:
    stepper = session.stepper
    match slot:
        case "place":
            yield "start", "before the first event"
            yield "end", "after the last event"
            yield from ((path, "the next event of this path") for path in stepper.paths())
        case "position":
            for number, event in enumerate(stepper.trace.events):
                yield str(number), describe(event)
        case "variable":
            yield from stepper.here.known.items()
        case "command":
            yield from ((command.name, command.help) for command in COMMANDS)
        case "":
            pass
