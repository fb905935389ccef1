"""The line editor on a real terminal: completion, history, keys. The only prompt-toolkit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from raftoral_repl.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from raftoral_repl.session import Session

ABOUT_COLUMNS = 60


class _Suggestions(Completer):
    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        """Offer what `suggest` says."""
        for one in suggest(document.text, document.cursor_position, self._session):
            about = one.about[:ABOUT_COLUMNS]
            yield Completion(one.text, start_position=-one.replaces, display_meta=about)


class TerminalReader:
    """Reads lines from the terminal; Ctrl-C drops the line, Ctrl-D ends the session."""

    def __init__(self, session: Session) -> None:
        self._prompt: PromptSession[str] = PromptSession(
            history=_lines_typed(),
            completer=_Suggestions(session),
            auto_suggest=AutoSuggestFromHistory(),
            complete_while_typing=False,
        )

    def read(self, prompt: str) -> str:
        """Return the next line; `EOFError` at the end, `KeyboardInterrupt` on Ctrl-C."""
        return self._prompt.prompt(prompt)


def _lines_typed() -> History:
    """Return the history kept between sessions, or one for this session where none can be kept."""
    base = os.environ.get("XDG_STATE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".local" / "state") / "raftoral"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "repl_history"
        path.touch(mode=0o600)
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(path)
