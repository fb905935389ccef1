from __future__ import annotations

import io
import re
from pathlib import Path

from raftoral_repl.app import run_script
from raftoral_repl.commands import COMMANDS
from raftoral_repl.render import Screen
from tests.repl.rwf_sessions import rwf_session, rwf_session_on_other_text
from tests.repl.sessions import shown

README = Path(__file__).parents[2] / "repl" / "README.md"
_SESSION = re.compile(r"(?<=```text\n)run .*?(?=```)", re.DOTALL)
_COMMAND = re.compile(r"^\S+:\d+> (.*)$", re.MULTILINE)


def test_the_session_of_the_readme_is_what_comes(rewrite: bool) -> None:
    """The page shows a session that really goes like this."""
    text = README.read_text(encoding="utf-8")
    found = _SESSION.search(text)
    assert found is not None
    out, session = io.StringIO(), rwf_session()
    assert run_script(session, Screen(out), _COMMAND.findall(found[0]), "README") == 0
    session.close()
    if rewrite:
        README.write_text(_SESSION.sub(lambda _: out.getvalue(), text, 1), encoding="utf-8")
    else:
        assert found[0] == out.getvalue()


def test_the_table_of_the_readme_is_the_table_of_commands() -> None:
    """Each command stands there with its argument, its short form and its help."""
    text = README.read_text(encoding="utf-8")
    for one in COMMANDS:
        usage = f"{one.name} {one.argument}".strip().replace("|", "\\|")
        about = one.help.partition(" (")[0]
        assert f"| `{usage}` | `{one.short}` | {about} |" in text


def test_the_divergence_of_the_readme_is_what_comes() -> None:
    """The other text is left where the page says."""
    session = rwf_session_on_other_text()
    said = shown(session, "goto end")
    session.close()
    assert said[said.index("  the code leaves") :] in README.read_text(encoding="utf-8")
