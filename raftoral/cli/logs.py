"""Where log lines go: stderr, one line an event, from the level that RAFTORAL_LOG names."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")


class _OneLine(logging.Formatter):
    """Keeps an event on one line, tracebacks too, so that lines can be counted and shipped."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\\n")


def set_up(default: str) -> None:
    """Send log lines to stderr, from level RAFTORAL_LOG (debug, info, warning, error) up."""
    wanted = os.environ.get("RAFTORAL_LOG", default).lower()
    level = wanted if wanted in LEVELS else default
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # other libraries speak up only when something is wrong
    logging.getLogger("raftoral").setLevel(level.upper())
    if wanted != level:
        logging.getLogger("raftoral").warning(
            "RAFTORAL_LOG is one of %s, not %r; using %s", ", ".join(LEVELS), wanted, default
        )
