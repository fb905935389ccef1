"""`python -m raftoral_repl`, and what `raftoral repl` starts: arguments in, exit code out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raftoral.errors import RaftoralError
from raftoral_repl.session import CalledWrongly, load, open_session, program_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.registry.app import Registry
    from raftoral_repl.session import Session

FAILED, CALLED_WRONGLY = 1, 2
DEFAULT_NODE: Final = "http://127.0.0.1:7480"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftoral repl",
        description="Step through a recorded run, forth and back.",
        epilog="Exit codes: 0 done; 1 failed, or the code left the history in a script; 2 called "
        "wrongly; 3 a bad command in a script.",
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="FILE|RUN",
        help="an exported history (.rhx), a .rwf file, or the id of a run on the node",
    )
    parser.add_argument(
        "--history", metavar="FILE.rhx|RUN", help="what to step through on a .rwf file"
    )
    parser.add_argument("--app", metavar="FILE.py:NAME", help="the registry of Python workflows")
    parser.add_argument("--script", metavar="FILE", help="read commands from a file, - for stdin")
    parser.add_argument(
        "--node",
        metavar="URL",
        default=os.environ.get("RAFTORAL_NODE") or DEFAULT_NODE,
        help="the node to ask for a run (RAFTORAL_NODE)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Open what the arguments name, hold the session, return the exit code."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else CALLED_WRONGLY
    try:
        script = None if options.script is None else _script(options.script)
        session = _open(options)
    except CalledWrongly as error:
        return _refuse(error, CALLED_WRONGLY)
    except RaftoralError as error:
        return _refuse(error, FAILED)
    except KeyboardInterrupt:
        return 130
    try:
        return _hold(session, script, options.script)
    finally:
        session.close()


def _refuse(error: RaftoralError, code: int) -> int:
    print(f"raftoral: {error}", file=sys.stderr)
    return code


def _script(path: str) -> list[str]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CalledWrongly(f"--script: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CalledWrongly(f"--script: {path} is no text") from None
    return text.splitlines()


def _open(options: argparse.Namespace) -> Session:
    if options.target is None:
        raise CalledWrongly(
            "name what to step through: raftoral repl RUN, or raftoral repl FILE.rhx"
        )
    registry = None if options.app is None else _registry(options.app)
    view, text = load(options.target, options.history, options.node)
    return open_session(view, program_of(view, text, registry))


def _registry(spec: str) -> Registry:
    from raftoral.registry.apps import load_app

    try:
        return load_app(spec)
    except RaftoralError as error:
        raise CalledWrongly(str(error)) from None


def _hold(session: Session, script: list[str] | None, name: str) -> int:
    from raftoral_repl.app import PlainReader, converse, run_script
    from raftoral_repl.render import Screen

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if script is not None:
        return run_script(session, Screen(sys.stdout), script, name)
    screen = Screen(sys.stdout, terminal=terminal)
    if not terminal:
        return converse(session, screen, PlainReader(sys.stdin, screen.say))
    from raftoral_repl.prompt import TerminalReader

    return converse(session, screen, TerminalReader(session))


if __name__ == "__main__":
    raise SystemExit(main())
