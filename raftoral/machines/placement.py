"""Where things belong, by hash alone, so that every node gives the same answer.

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (rendezvous).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from raftoral.ids import NOBODY, SLOTS, NodeId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.ids import RunId


def slot_of(run_id: str) -> int:
    """Return the slot, 0 to 1,023, that a run (or a schedule) belongs to."""
    return int.from_bytes(blake2b(run_id.encode(), digest_size=4).digest(), "big") % SLOTS


def home_of(run_id: RunId, nodes: Iterable[NodeId]) -> NodeId:
    """Return the node among ``nodes`` that should own the run; `NOBODY` if there are none.

    When a node leaves, only its own runs find another home.
    """
    best, home = b"", NOBODY
    for node in sorted(nodes):
        weight = blake2b(f"{node}/{run_id}".encode(), digest_size=8).digest()
        if weight > best:
            best, home = weight, node
    return home
