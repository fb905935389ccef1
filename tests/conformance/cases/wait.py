"""Waits."""

from __future__ import annotations

from typing import Any

from raftoral.replay.effects import Flow, Sleep
from tests.conformance.cases.common import requirement


@requirement("2-1")
def one_wait(given: Any) -> Flow[None]:
    """A single wait."""
    yield from Sleep("2s")


@requirement("2-3")
def two_waits(given: Any) -> Flow[dict[str, int]]:
    """Two waits, one after the other."""
    yield from Sleep("2s", "wait-1")
    yield from Sleep("2s", "wait-2")
    return {"completedWaits": 2}


@requirement("2-5")
def an_hour(given: Any) -> Flow[None]:
    """A wait of an hour."""
    yield from Sleep("1h")
