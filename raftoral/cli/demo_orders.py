"""placeholder docstring."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftoral.values import Value


def order(number: int) -> tuple[str, str, dict[str, Value]]:
    """Return the workflow, the run's id and the input of order ``number``."""
    return "order", f"order-{number:03}", {}


def wrong(run_id: str, result: object) -> str | None:
    """Return what is wrong with the result of a run, or None."""
    return None
