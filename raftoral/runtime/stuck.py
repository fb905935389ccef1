"""Why a node cannot follow a run, in words that say what to do."""

from __future__ import annotations

import logging
from traceback import extract_tb
from typing import TYPE_CHECKING, Final

from raftoral.replay.divergence import explain
from raftoral.replay.failures import failure_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.errors import NonDeterminismError
    from raftoral.ids import RunId
    from raftoral.replay.advancing import Begin
    from raftoral.runtime.watchdog import Watchdog

log = logging.getLogger("raftoral.executor")

EXPLAINED_EVENTS_MAX: Final = 2_000
"""A longer history is not replayed once more in the node's loop; the command does it elsewhere."""


def departure(
    error: NonDeterminismError, begin: Begin, history: Sequence[bytes], watchdog: Watchdog
) -> str:
    """Return why the code of this node leaves a history, and the commands that show it.

    What was inserted, removed, moved, renamed or changed is found by replaying ``history`` anew. The
    code may do something else each time, so that only ``error`` is left to tell.
    """
    run_id = error.run_id
    lines = [str(error)]
    if len(history) <= EXPLAINED_EVENTS_MAX:
        try:
            with watchdog:
                found = explain(run_id, begin, history)
            if found is not None:
                lines += [found.words, *(f"  {each}" for each in found.differences)]
        except BaseException as problem:  # Even a KeyboardInterrupt is the workflow's own here.
            log.debug("run %s: no words for its divergence", run_id, exc_info=problem)
    lines.append(
        f"look at it: `raftoral history {run_id} --export run.rhx`, then `raftoral replay run.rhx`"
    )
    return "\n".join(lines)


def raised(run_id: RunId, error: BaseException) -> str:
    """Log what was raised by a run's code, or on the way to it, and return why it is stuck."""
    log.error("run %s", run_id, exc_info=error)
    name, message, _ = failure_of(error)
    return f"the replay failed: {name!s}: {message!s}"


def last_line(error: BaseException) -> str:
    """Return ``file:line`` of the innermost frame that an exception came through."""
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown line"
