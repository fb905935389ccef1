"""Which runs are away from the member that they belong to by hash, and may go back to it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from raftoral.machines.placement import home_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raftoral.ids import NodeId, RunId

LOOKS_PER_TICK: Final = 200
"""How many runs are looked at in one tick for whether they are away from home."""

SETTLED_HOME_S: Final = 2.0
"""How long a member must be up before runs move back to it."""


class Homes:
    """What one node knows of where runs belong: looked up only when members or owners changed."""

    def __init__(self, node: NodeId) -> None:
        self.up_since: dict[NodeId, float] = {}
        self._node = node
        self._settled: list[NodeId] = []
        self._perhaps_away: dict[RunId, None] = {}

    def forget(self) -> None:
        """Begin anew: every run is looked at again."""
        self._settled = []

    def moved(self, run_id: RunId) -> None:
        """Note that a run has another owner."""
        self._perhaps_away[run_id] = None

    def members_changed(self, up: list[NodeId], now: float, live: Iterable[RunId]) -> bool:
        """Take the members that are up at ``now`` (seconds); tell whether runs may move at all."""
        self.up_since = {node: self.up_since.get(node, now) for node in up}
        settled = [node for node in up if now - self.up_since[node] >= SETTLED_HOME_S]
        if self._node not in settled or len(settled) < 2:
            self._settled = []
            self._perhaps_away.clear()
            return False
        if settled != self._settled:
            self._settled = settled
            self._perhaps_away.update(dict.fromkeys(live))
        return True

    def perhaps_away(self) -> Iterator[RunId]:
        """Yield the runs to look at in this tick; one that is away is said to have `moved`."""
        for run_id in list(islice(self._perhaps_away, LOOKS_PER_TICK)):
            del self._perhaps_away[run_id]
            yield run_id

    def home(self, run_id: RunId) -> NodeId:
        """Return the member that a run belongs to."""
        return home_of(run_id, self._settled)
