"""The command line: `raftoral`.

Exit codes: 0 done, 1 failed, 2 called wrongly, 3 there is no such thing, 4 in conflict with what
there is, 5 not now: try again.

Everything is imported when a command needs it, so that `raftoral --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

GRACE_S = 5.0
"""How long a process that stops waits for activities in threads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one message on stderr."""
    import gc
    import os

    try:
        code = _run(argv)
        if not sys.stdout.closed:  # the language server closes it
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads our output has seen enough; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        gc.enable()  # see `cli.sources`
    if argv is None:
        _leave_threads(code)
        # The process ends, and with it all that it made: the interpreter's last look for garbage
        # would take a tenth of a short command.
        gc.freeze()
    return code


def _leave_threads(code: int) -> None:
    """End this process though activities in threads go on: nobody hears how they end.

    Python would wait for them, and with it whoever stops the node.
    """
    import os
    import threading
    import time

    left = [each for each in threading.enumerate() if each.name.startswith("raftoral-activity")]
    until = time.monotonic() + GRACE_S
    for thread in left:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in left):
        print("raftoral: ends in the middle of activities in threads", file=sys.stderr, flush=True)
        os._exit(code)


def _run(argv: Sequence[str] | None) -> int:
    from raftoral.cli.root import app_for
    from raftoral.errors import RaftoralError

    words = sys.argv[1:] if argv is None else list(argv)
    try:
        app_for(words)(args=words, prog_name="raftoral")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except RaftoralError as error:
        from raftoral.cli.options import tell

        tell(str(error))
        return _exit_code(error)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _unexpected(error)
    return 0


def _exit_code(error: Exception) -> int:
    from raftoral import errors

    match error:
        case errors.Unavailable():
            return 5
        case (
            errors.UnknownRun()
            | errors.UnknownDefinition()
            | errors.UnknownSchedule()
            | errors.UnknownNode()
            | errors.UnknownCallback()
            | errors.UnknownQuery()
        ):
            return 3
        case (
            errors.RunConflict()
            | errors.RunEnded()
            | errors.CallbackOver()
            | errors.ScheduleConflict()
            | errors.DefinitionRefused()
        ):
            return 4
        case errors.UsageError() if not isinstance(error, errors.LimitExceeded):
            return 2
        case _:
            return 1


def _unexpected(error: Exception) -> int:
    """Say what happened in one line; the traceback is for those who ask for it."""
    import os
    import traceback

    print(
        f"raftoral: unexpected {type(error).__name__}: {error} (RAFTORAL_LOG=debug shows where)",
        file=sys.stderr,
    )
    if os.environ.get("RAFTORAL_LOG", "").lower() == "debug":
        traceback.print_exception(error)
    return 1
