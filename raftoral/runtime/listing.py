"""Lists runs of all groups, merged by when they started, page by page.

Owns the merging. What a list shows is what the answering members have applied: nobody waits for a
barrier of every group. A page goes on behind the last run seen, over all groups.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from raftoral.codec import pack
from raftoral.errors import UsageError
from raftoral.ids import GroupId, Millis, RunId
from raftoral.machines import listing
from raftoral.runtime.views import RunView, plain_run, run_of

if TYPE_CHECKING:
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.values import Value

LIST_MAX: Final = 1_000
LIST_SLICE: Final = 500
"""How many runs are looked at before the loop gets its turn again."""

PAGE_BYTES_MAX: Final = 256 * 1024

_NO_RUN: Final = RunView("", "", 0, "running", 0, 0, 0, 0, 0)


class Listing:
    """The lists of one node."""

    def __init__(self, routing: Routing, lookup: Lookup) -> None:
        self._routing = routing
        self._lookup = lookup
        routing.serve("run.list", self._serve_list)

    async def page(
        self, status: str | None, name: str | None, limit: int, after: str | None
    ) -> list[RunView]:
        """Return up to ``limit`` runs of all groups, the one started last first."""
        if not 1 <= limit <= LIST_MAX:
            raise UsageError(f"a list shows 1 to {LIST_MAX} runs at once, not {limit}")
        before = await self._lookup.show(after, local=True) if after is not None else None
        pages = await asyncio.gather(
            *(
                self._list_group(group, status, name, limit, before)
                for group in self._routing.groups()
            )
        )
        merged = sorted(
            (view for page in pages for view in page),
            key=lambda view: (view.started_at, view.id),
            reverse=True,
        )
        return merged[:limit]

    async def _list_group(
        self,
        group: GroupId,
        status: str | None,
        name: str | None,
        limit: int,
        before: RunView | None,
    ) -> list[RunView]:
        found: list[RunView] = []
        if self._routing.is_here(group):
            start = None if before is None else (Millis(before.started_at), RunId(before.id))
            state, asked = self._routing.state(group), listing.Filter(status, name)
            listed = listing.newest_first(state, asked, start)
            for seen, run in enumerate(listed, start=1):
                if asked.fits(state, run):
                    found.append(self._lookup.view(group, run))
                    if len(found) == limit:
                        break
                if seen % LIST_SLICE == 0:
                    await asyncio.sleep(0)  # A long list must not hold up heartbeats.
            return found
        while len(found) < limit:
            marker: Value = None if before is None else [before.started_at, before.id]
            wanted: list[Value] = [group, status, name, limit - len(found), marker]
            answer = await self._routing.ask(group, "run.list", wanted)
            page, more = cast("tuple[list[Value], bool]", answer)
            found += [run_of(each) for each in page]
            if not more:
                break
            before = found[-1]
        return found

    async def _serve_list(
        self,
        group: int,
        status: str | None,
        name: str | None,
        limit: int,
        marker: list[Any] | None,
    ) -> Value:
        """Answer with as many views as fit one message, and whether there are more."""
        before = None
        if marker is not None:
            before = replace(_NO_RUN, started_at=marker[0], id=marker[1])
        page: list[Value] = []
        size = 0
        for view in await self._list_group(GroupId(group), status, name, limit, before):
            plain = plain_run(view)
            size += len(pack(plain, floats=True, bytes_max=2 * PAGE_BYTES_MAX))
            if page and size > PAGE_BYTES_MAX:
                return [page, True]
            page.append(plain)
        return [page, False]
