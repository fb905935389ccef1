"""The leader's view of one follower."""

from __future__ import annotations

import pytest

from raftoral.ids import Index, Term
from raftoral.raft.messages import Entry, EntryKind
from raftoral.raft.progress import Inflights, Progress, ProgressState


def entries(low: int, high: int, size: int = 1) -> list[Entry]:
    """Return entries low to high, both included."""
    return [Entry(Term(1), Index(i), EntryKind.NORMAL, bytes(size)) for i in range(low, high + 1)]


def full(window: Inflights) -> bool:
    """Whether the window is full; a call, since the answer changes between two asserts."""
    return window.full


def paused(progress: Progress) -> bool:
    """Whether appends are held back; a call for the same reason."""
    return progress.is_paused


def replicating(next_index: int = 1, count: int = 2, size: int = 0) -> Progress:
    """Return a follower that gets entries ahead of its answers."""
    progress = Progress(Index(next_index), Inflights(count, size))
    progress.match = Index(next_index - 1)
    progress.become_replicate()
    return progress


def test_a_window_is_full_at_its_count() -> None:
    """A window of two messages holds two, and freeing is up to an index."""
    window = Inflights(2, 0)
    window.add(Index(1), 10)
    assert not full(window)
    window.add(Index(4), 10)
    assert full(window)
    window.free_to(Index(3))
    assert len(window) == 1
    assert not full(window)


def test_a_window_is_full_at_its_bytes() -> None:
    """A window also closes once its bytes are used up, whatever the count."""
    window = Inflights(100, 25)
    window.add(Index(1), 10)
    assert not full(window)
    window.add(Index(2), 20)
    assert full(window)
    window.free_to(Index(1))
    assert not full(window)


def test_a_full_window_takes_no_message() -> None:
    """Sending into a full window is a bug of the leader."""
    window = Inflights(1, 0)
    window.add(Index(1), 1)
    with pytest.raises(AssertionError):
        window.add(Index(2), 1)


def test_a_probe_is_one_message() -> None:
    """A probing follower is paused by the first append and freed by its answer."""
    progress = Progress(Index(3), Inflights(9, 0))
    assert not paused(progress)
    progress.sent(entries(3, 3), Index(2))
    assert paused(progress)
    assert progress.next == 3
    assert progress.acknowledge(Index(3))
    assert not paused(progress)
    assert (progress.match, progress.next) == (3, 4)


def test_replication_runs_ahead_until_the_window_is_full() -> None:
    """Appends move `next` at once; the full window pauses, an answer opens it."""
    progress = replicating()
    progress.sent(entries(1, 2), Index(0))
    progress.sent(entries(3, 3), Index(0))
    assert progress.next == 4
    assert paused(progress)
    progress.acknowledge(Index(2))
    progress.inflights.free_to(Index(2))
    assert not paused(progress)
    assert progress.may_carry


def test_a_snapshot_stops_everything_until_it_is_settled() -> None:
    """In snapshot state nothing is sent; afterwards probing goes on behind the snapshot."""
    progress = replicating()
    progress.become_snapshot(Index(10))
    assert paused(progress)
    progress.become_probe()
    assert progress.state is ProgressState.PROBE
    assert progress.next == 11


@pytest.mark.parametrize(
    ("state", "match", "next_index", "rejected", "hint", "moved", "after"),
    [
        (ProgressState.REPLICATE, 5, 10, 5, 5, False, 10),
        (ProgressState.REPLICATE, 5, 10, 4, 4, False, 10),
        (ProgressState.REPLICATE, 5, 10, 9, 9, True, 6),
        (ProgressState.PROBE, 0, 10, 5, 5, False, 10),
        (ProgressState.PROBE, 0, 10, 9, 2, True, 3),
        (ProgressState.PROBE, 0, 10, 9, 9, True, 9),
        (ProgressState.PROBE, 0, 1, 0, 0, True, 1),
        (ProgressState.PROBE, 4, 10, 9, 1, True, 5),
    ],
)
def test_a_refusal_steps_back_unless_it_is_old(
    state: ProgressState,
    match: int,
    next_index: int,
    rejected: int,
    hint: int,
    moved: bool,
    after: int,
) -> None:
    """A refusal lowers `next` to the hint, never to the match or below, and old ones do nothing."""
    progress = Progress(Index(next_index), Inflights(9, 0))
    progress.match, progress.state = Index(match), state
    assert progress.step_back(Index(rejected), Index(hint)) is moved
    assert progress.next == after


def test_old_news_changes_nothing() -> None:
    """An acknowledgement of less than is known is not counted again."""
    progress = replicating(6)
    assert not progress.acknowledge(Index(5))
    assert progress.acknowledge(Index(7))
    assert not progress.acknowledge(Index(7))
