"""Where the sync runs: in the loop, as it does, or in a thread beside it, with the real core.

`Beside` is the host with one thing changed: a batch is written by a thread while the loop goes on to
read. It is an experiment: it must not be stopped in the middle, and takes no snapshots.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from raftoral.groups.host import Host
from tests.bench.consensus import Figures, consensus, figure, in_three_processes, node_process

if TYPE_CHECKING:
    from concurrent.futures import Future

    from raftoral.groups.group import Group
    from raftoral.raft.node import Ready


class Beside(Host):
    """A host whose syncs run in a thread; while one runs, no other round begins."""

    _pool: ThreadPoolExecutor | None = None
    _writing = False

    def drain(self) -> None:
        """Begin a round unless one is being written; the end of that begins the next."""
        if self._writing or self._stopped is not None:
            return
        work = self._ready(news=True)
        for group, ready in work:
            self._post(group, ready.messages)
        self._send()
        for group, ready in work:
            group.append(ready)
        if any(ready.must_sync for _, ready in work):
            self._write(work)
        elif work:
            self._finish(work)
        self._transport.flush()

    def _write(self, work: list[tuple[Group, Ready]]) -> None:
        store = self._store
        batch = store._disk.batch()
        for each in store.dirty.values():
            each.collect(batch)
        store.dirty.clear()
        self._writing = True
        self._pool = self._pool or ThreadPoolExecutor(1)
        done = self._pool.submit(store._disk.write, batch, sync=True)
        loop = self._the_loop()
        done.add_done_callback(lambda ended: loop.call_soon_threadsafe(self._written, work, ended))

    def _written(self, work: list[tuple[Group, Ready]], ended: Future[None]) -> None:
        ended.result()
        self._writing = False
        self._finish(work)
        self.drain()

    def _finish(self, work: list[tuple[Group, Ready]]) -> None:
        for group, ready in work:
            self._post(group, ready.messages_after_sync)
        self._send()
        for group, ready in work:
            group.advance(ready)
            self._report(group, ready)
        self.schedule()


@cache
def beside() -> Figures:
    """Run three nodes whose syncs run in a thread once."""
    return in_three_processes(partial(node_process, host_type=Beside))


def sync_beside_commit_ms() -> dict[str, Any]:
    """Median of one commit with the sync in a thread."""
    ours, loop = beside().commit_ms, consensus().commit_ms
    return figure("sync_beside_commit_ms", ours, "ms", ours / loop, f"in the loop {loop:.3f} ms")


def sync_beside_per_s() -> dict[str, Any]:
    """Proposals a second, 1,000 in flight, with the sync in a thread."""
    ours, loop = beside().per_second, consensus().per_second
    return figure("sync_beside_per_s", ours, "1/s", ours / loop, f"in the loop {loop:,.0f}/s")


def measure() -> list[dict[str, Any]]:
    """Return both figures."""
    return [sync_beside_commit_ms(), sync_beside_per_s()]
