"""What holds in the state of an execution group after every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.ids import RunId
from raftoral.machines import runs

if TYPE_CHECKING:
    from raftoral.kv import MemoryKeyValue


def check_indexes(state: MemoryKeyValue) -> None:
    """Check that the indexes hold what the records say, no more and no less."""
    records = [run_id(key) for key, _ in state.scan(b"r/") if key.endswith(b"/s")]
    found = {each: runs.find(state, each) for each in records}
    expected: set[bytes] = set()
    for run in found.values():
        assert run is not None
        expected |= set(runs._indexes(run))
        assert len(runs.history(state, run.id)) == run.length
        assert sum(map(len, runs.history(state, run.id))) == run.size
        assert (run.owner == 0) == (run.status == runs.PARKED) or not run.live
        if not run.live:
            assert not list(state.scan(b"r/" + run.id.encode() + b"/t/"))
            assert not list(state.scan(b"r/" + run.id.encode() + b"/m/"))
    stored = {key for key, _ in state.scan(b"") if key[:2] in (b"a/", b"o/", b"p/", b"e/", b"l/")}
    assert stored == expected
    live = sum(run is not None and run.live for run in found.values())
    assert int.from_bytes(state.get(b"n") or b"", "big") == live
    assert int.from_bytes(state.get(b"f") or b"", "big") == len(found) - live


def run_id(key: bytes) -> RunId:
    """Return the run that a key belongs to."""
    return RunId(key.split(b"/")[1].decode())
