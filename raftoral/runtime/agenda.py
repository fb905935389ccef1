"""Which run is looked at next: one that something happened to, or one of a backlog, in turn."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.ids import RunId


class Agenda:
    """The runs to look at, each once, the longest waiting first.

    A backlog is what comes to a node many at once: with its start, or from an owner that was lost.
    Whoever starts or signals a run does not wait for it, and no load lets it wait for ever.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[RunId, None] = OrderedDict()
        self._backlog: OrderedDict[RunId, None] = OrderedDict()
        self._backlog_is_next = False

    def __bool__(self) -> bool:
        return bool(self._events or self._backlog)

    def add(self, run_id: RunId) -> None:
        """Note a run that something happened to."""
        self._events[run_id] = None

    def add_backlog(self, run_ids: Iterable[RunId]) -> None:
        """Note runs that came many at once."""
        self._backlog.update(dict.fromkeys(run_ids))

    def next(self) -> RunId:
        """Take out the run to look at next; there has to be one."""
        first, second = self._events, self._backlog
        if self._backlog_is_next:
            first, second = second, first
        self._backlog_is_next = not self._backlog_is_next
        return (first or second).popitem(last=False)[0]

    def clear(self) -> None:
        """Forget everything."""
        self._events.clear()
        self._backlog.clear()
