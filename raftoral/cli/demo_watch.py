"""What clients see of the runs while the demo goes on: one asking thread for each node."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from raftoral.client.http import Client
from raftoral.convert import to_json
from raftoral.errors import RaftoralError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from raftoral.cli.demo_cluster import NodeProcess
    from raftoral.runtime.views import RunView

SLOW_SECONDS: Final = 0.05
FAST_SECONDS: Final = 0.01
"""How often each node is asked around the kill, which is how exact the takeover is measured."""


@dataclass
class Takeover:
    """Measures how long after a kill a run goes on under a new owner.

    The clock ends at the first answer that shows a run of the killed owner with a new owner and
    more events than before. "Before" is what was seen *after* the kill, so a step that the killed
    owner had settled, and that nobody had seen yet, is not taken for the new owner's. ``runs`` are
    those that it was seen to own when it was killed; others of its runs may turn up after it.
    """

    victim: int
    runs: frozenset[str]
    killed_at: float
    seconds: float | None = None
    first_run: str = ""
    _before: dict[str, int] = field(default_factory=dict)

    def see(self, view: RunView, now: float) -> None:
        """Take one answer that arrived at ``now`` into account."""
        if self.seconds is not None:
            return
        before = self._before.get(view.id)
        if view.owner == self.victim or (before is None and view.id in self.runs):
            self._before[view.id] = max(view.events, before or 0)
        elif before is not None and view.events > before:
            self.seconds = now - self.killed_at
            self.first_run = view.id


class Watch:
    """The furthest view of each run, and every result that any node has acknowledged."""

    def __init__(self, nodes: Sequence[NodeProcess], limit: int) -> None:
        self.takeover: Takeover | None = None
        self.pause = SLOW_SECONDS
        self.acknowledged: dict[str, bytes] = {}
        self.contradictions: list[str] = []
        self._limit = limit
        self._seen: dict[str, RunView] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(node,), name=f"watch-{node.name}", daemon=True)
            for node in nodes
        ]

    def __enter__(self) -> Watch:
        """Start asking."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop asking."""
        self._end.set()
        for thread in self._threads:
            thread.join(2)

    def runs(self) -> list[RunView]:
        """Return the furthest view of each run that any node has shown."""
        with self._lock:
            return list(self._seen.values())

    def live(self, started: int) -> int:
        """Return how many of so many started runs have not been seen to end."""
        with self._lock:
            return started - sum(view.ended for view in self._seen.values())

    def results(self) -> dict[str, bytes]:
        """Return the JSON of each result that was shown to a client, by run."""
        with self._lock:
            return dict(self.acknowledged)

    def see(self, view: RunView, now: float) -> None:
        """Take one answer of any node into account."""
        with self._lock:
            if self.takeover is not None:
                self.takeover.see(view, now)
            seen = self._seen.get(view.id)
            if seen is None or (view.epoch, view.events) >= (seen.epoch, seen.events):
                self._seen[view.id] = view
            if view.status == "completed":
                result = to_json(view.result)
                if self.acknowledged.setdefault(view.id, result) != result:
                    self.contradictions.append(view.id)

    def _ask(self, node: NodeProcess) -> None:
        with Client(node.url, timeout=5, patience=0) as client:
            while not self._end.is_set():
                begun = time.monotonic()
                if not node.killed:
                    self._ask_once(client)
                self._end.wait(max(0.002, begun + self.pause - time.monotonic()))

    def _ask_once(self, client: Client) -> None:
        try:
            views = client.runs(limit=self._limit)
        except RaftoralError:
            return  # between two leaders, or gone: the other nodes are asked too
        now = time.monotonic()
        for view in views:
            self.see(view, now)
