"""What holds in the state of an execution group after every command."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raftoral.ids import RunId
from raftoral.machines import children, layout, listing, outbox, runs, search

if TYPE_CHECKING:
    from raftoral.kv import MemoryKeyValue

INDEXES = (b"a/", b"o/", b"p/", b"e/", b"l/")


def check_indexes(state: MemoryKeyValue) -> None:
    """Check that the indexes and counts hold what the records say, no more and no less."""
    records = [run_id(key) for key, _ in state.scan(b"r/") if key.endswith(b"/s")]
    expected: set[bytes] = set()
    statuses: Counter[str] = Counter()
    waiting = dict(outbox.messages(state))
    for each in records:
        run = runs.find(state, each)
        assert run is not None
        expected |= set(runs._indexes(run))
        for path, data in search.cells(state, run).items():
            assert path in run.search
            expected.add(layout.list_key(search.facet(path, data), run.started_at, run.id))
        statuses[run.status] += 1
        assert len(runs.history(state, run.id)) == run.length
        assert sum(map(len, runs.history(state, run.id))) == run.size
        assert (run.owner == 0) == (run.status == runs.PARKED) or not run.live
        assert (run.status == runs.PAUSED) <= (run.paused is not None)
        if run.origin:
            group, number = run.origin
            assert state.get(layout.began_key(group, number, run.id)) is not None
        if run.untold:
            message = waiting[run.untold]
            assert isinstance(message, outbox.Say)
            assert message.about == run.id
        if not run.live:
            assert not list(state.scan(layout.run_prefix(run.id) + b"t/"))
            assert not children.open_children(state, run.id)
            if run.status == runs.COMPLETED:
                assert not list(state.scan(layout.run_prefix(run.id) + b"m/"))
    stored = {key for key, _ in state.scan(b"") if key[:2] in INDEXES}
    assert stored == expected
    counts = listing.counts(state)
    assert {status: n for status, n in counts.runs.items() if n} == statuses
    assert counts.outbox == len(waiting)


def run_id(key: bytes) -> RunId:
    """Return the run that a key belongs to."""
    return RunId(key.split(b"/")[1].decode().replace("\x01", "/"))
