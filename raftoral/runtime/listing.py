"""Lists runs of all groups, merged by when they started, page by page.

Owns the merging. What a list shows is what the answering members have applied: nobody waits for a
barrier of every group. A page goes on behind the last run seen, over all groups.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from raftoral.codec import pack
from raftoral.errors import UsageError
from raftoral.ids import GroupId, Millis, RunId
from raftoral.machines import listing
from raftoral.machines.listing import Filter
from raftoral.runtime.views import RunView, plain_run, run_of

if TYPE_CHECKING:
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.values import Value

LIST_MAX: Final = 1_000
LIST_SLICE: Final = 500
"""How many runs are looked at before the loop gets its turn again."""

PAGE_BYTES_MAX: Final = 256 * 1024


class Place(NamedTuple):
    """Where a page of a list ends: when its last run started, and its id."""

    started_at: Millis
    run_id: RunId


class Listing:
    """The lists of one node."""

    def __init__(self, routing: Routing, lookup: Lookup) -> None:
        self._routing = routing
        self._lookup = lookup
        routing.serve("run.list", self._serve_list)

    async def page(self, wanted: Filter, limit: int, after: str | None) -> list[RunView]:
        """Return up to ``limit`` runs of all groups, the one started last first."""
        if not 1 <= limit <= LIST_MAX:
            raise UsageError(f"a list shows 1 to {LIST_MAX} runs at once, not {limit}")
        last = await self._lookup.show(after, local=True) if after is not None else None
        behind = None if last is None else _place(last)
        pages = await asyncio.gather(
            *(self._of_group(group, wanted, limit, behind) for group in self._routing.groups())
        )
        return sorted((view for page in pages for view in page), key=_place, reverse=True)[:limit]

    async def _of_group(
        self, group: GroupId, wanted: Filter, limit: int, behind: Place | None
    ) -> list[RunView]:
        found: list[RunView] = []
        if self._routing.is_here(group):
            state = self._routing.state(group)
            for seen, run in enumerate(listing.newest_first(state, wanted, behind), start=1):
                if wanted.fits(state, run):
                    found.append(self._lookup.view(group, run))
                    if len(found) == limit:
                        break
                if seen % LIST_SLICE == 0:
                    await asyncio.sleep(0)  # A long list must not hold up heartbeats.
            return found
        while len(found) < limit:
            marker: Value = None if behind is None else [*behind]
            asked: list[Value] = [group, _plain(wanted), limit - len(found), marker]
            answer = await self._routing.ask(group, "run.list", asked)
            page, more = cast("tuple[list[Value], bool]", answer)
            found += [run_of(each) for each in page]
            if not more:
                break
            behind = _place(found[-1])
        return found

    async def _serve_list(
        self, group: int, wanted: dict[str, Any], limit: int, behind: list[Any] | None
    ) -> Value:
        """Answer with as many views as fit one message, and whether there are more."""
        place = None if behind is None else Place(*behind)
        page: list[Value] = []
        size = 0
        for view in await self._of_group(GroupId(group), Filter(**wanted), limit, place):
            plain = plain_run(view)
            size += len(pack(plain, floats=True, bytes_max=2 * PAGE_BYTES_MAX))
            if page and size > PAGE_BYTES_MAX:
                return [page, True]
            page.append(plain)
        return [page, False]


def _place(view: RunView) -> Place:
    return Place(Millis(view.started_at), RunId(view.id))


def _plain(wanted: Filter) -> Value:
    return {name: getattr(wanted, name) for name in Filter.__slots__}
