"""Which runs there are: lists with filters, newest first, and counts.

A list is read from the narrowest index that fits; whoever pages through it looks at `Filter.fits`
for each run, because an index holds more than what is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from raftoral.ids import Millis, RunId
from raftoral.machines import layout, outbox, runs, search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.kv import Reader
    from raftoral.machines.runs import Run


@dataclass(frozen=True, slots=True)
class Filter:
    """What a run has to be; what is None may be anything.

    ``started_from`` is inclusive, ``started_before`` is not. ``cells`` maps paths of searched cells
    to the packed values that they must have.
    """

    status: str | None = None
    name: str | None = None
    version: int | None = None
    started_from: int | None = None
    started_before: int | None = None
    cells: dict[str, bytes] = field(default_factory=dict)

    def fits(self, reader: Reader, run: Run) -> bool:
        """Tell whether a run is wanted."""
        return (
            self.status in (None, run.status)
            and self.name in (None, run.name)
            and self.version in (None, run.version)
            and (self.started_from is None or run.started_at >= self.started_from)
            and (self.started_before is None or run.started_at < self.started_before)
            and (not self.cells or self.cells.items() <= search.cells(reader, run).items())
        )

    def facet(self) -> bytes:
        """Return the narrowest facet that all wanted runs have."""
        for path, data in sorted(self.cells.items()):
            return search.facet(path, data)
        if self.status is not None and self.status != runs.COMPLETED:
            return layout.facet("status", self.status)
        if self.name is not None:
            return layout.facet("name", self.name)
        if self.status is not None:
            return layout.facet("status", self.status)
        return layout.EVERYTHING


EVERY: Final = Filter()


def newest_first(
    reader: Reader, wanted: Filter = EVERY, before: tuple[Millis, RunId] | None = None
) -> Iterator[Run]:
    """Yield runs that may be wanted, the one started last first; only those behind ``before``.

    ``before`` is when a run started, and its id; it need not be a run of this group. The caller
    asks `Filter.fits` of each, and may pause between any two.
    """
    prefix = layout.LISTS + wanted.facet()
    start = b""
    if before is not None:
        start = prefix + layout.u64(before[0]) + before[1].encode()
    if wanted.started_before is not None:
        # The first key of that moment sorts before every run that started then.
        last = prefix + layout.u64(wanted.started_before)
        start = min(start or last, last)
    for key, _ in reader.scan(prefix, start, reverse=True):
        if before is not None and key == prefix + layout.u64(before[0]) + before[1].encode():
            continue
        started = layout.number_of(key[len(prefix) : len(prefix) + 8])
        if wanted.started_from is not None and started < wanted.started_from:
            return
        run = runs.find(reader, RunId(key[len(prefix) + 8 :].decode()))
        if run is not None:
            yield run


@dataclass(frozen=True, slots=True)
class Counts:
    """What a group holds. ``runs`` has a number for each status; ``outbox`` counts messages."""

    runs: dict[str, int]
    outbox: int
    schedules: int

    @property
    def live(self) -> int:
        """Return how many runs have not ended."""
        return sum(self.runs[each] for each in runs.LIVE)


def counts(reader: Reader) -> Counts:
    """Return the numbers of a group, each read from one key."""

    def of(what: str) -> int:
        return layout.number_of(reader.get(layout.count_key(what)))

    by_status = {each: of(each) for each in (*runs.LIVE, *runs.ENDED)}
    return Counts(by_status, outbox.count(reader), of("schedules"))
