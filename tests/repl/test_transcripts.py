from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raftoral_repl.commands import BadCommand
from tests import transcript
from tests.repl import rwf_sessions
from tests.repl.sessions import ANSWERS, other_code, python_session, shown

if TYPE_CHECKING:
    from raftoral_repl.session import Session

FOLDER = Path(__file__).parents[2] / "repl" / "transcripts"
HERE = f"{Path(__file__).parent}/"


def _open(words: list[str]) -> Session:
    match words:
        case ["python"]:
            return python_session()
        case ["python", "other"]:
            return python_session(other_code())
        case ["python", "unfinished"]:
            return python_session(answers={"lamp/reservation": ANSWERS["lamp/reservation"]})
        case ["rwf"]:
            return rwf_sessions.rwf_session()
        case ["rwf", "other"]:
            return rwf_sessions.rwf_session_on_other_text()
        case _:
            raise ValueError(f"nothing to open: {words}")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_session(path: Path, rewrite: bool) -> None:
    """A recorded session is repeated line by line."""
    sessions: list[Session] = []

    def handle(block: transcript.Block) -> str:
        if block.name == "open":
            sessions.append(_open(block.words()))
            return shown(sessions[-1]).replace(HERE, "")
        try:
            return shown(sessions[-1], block.command).replace(HERE, "")
        except BadCommand as error:
            return f"error: {error}"

    transcript.run(path, handle, rewrite=rewrite)
    for session in sessions:
        session.close()
