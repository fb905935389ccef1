"""The log in memory over the stored one, against a plain list."""

from __future__ import annotations

from random import Random

import pytest

from raftoral.errors import CorruptionError
from raftoral.ids import Index, Term
from raftoral.raft.log import NO_LIMIT, CompactedError, MissingError, RaftLog
from raftoral.raft.messages import ConfState, Entry, EntryKind, Snapshot, SnapshotMeta
from tests.raft.network import MemoryLog


def entry(term: int, index: int, data: bytes = b"x") -> Entry:
    """Return a normal entry."""
    return Entry(Term(term), Index(index), EntryKind.NORMAL, data)


def make(*terms: int, kept: int = 0, base: int = 0) -> tuple[RaftLog, MemoryLog]:
    """Return a log whose stored entries behind ``base`` have these terms."""
    stored = MemoryLog(SnapshotMeta(Index(base), Term(1 if base else 0), ConfState()))
    stored.append([entry(term, base + at) for at, term in enumerate(terms, 1)])
    return RaftLog(stored, Index(base), kept), stored


@pytest.mark.parametrize("kept", [0, 100, NO_LIMIT])
def test_random_use_reads_like_a_list(kept: int) -> None:
    """Appends, overwrites, stores, applies and compactions read like one list of entries."""
    random = Random(kept % 97)
    for _ in range(20):
        log, stored = make(kept=kept)
        model: list[Entry] = []
        term = 1
        for _ in range(120):
            match random.randrange(5):
                case 0:
                    new = entry(term, len(model) + 1, random.randbytes(random.randrange(30)))
                    log.append(new)
                    model.append(new)
                case 1:
                    term += 1
                    at = random.randint(log.committed, len(model))
                    new_part = tuple(entry(term, at + 1 + k) for k in range(random.randrange(4)))
                    prev = model[at - 1].term if at else Term(0)
                    assert log.maybe_append(Index(at), prev, new_part, Index(0)) is not None
                    if new_part:
                        del model[at:]
                        model += new_part
                case 2:
                    unstable = log.unstable()
                    stored.append(unstable)
                    if unstable:
                        log.stored_to(unstable[-1].index, unstable[-1].term)
                    assert stored.entries_ == model[stored.base.index :]
                case 3:
                    log.commit_to(Index(random.randint(log.committed, len(model))))
                    if log.stable >= log.committed:
                        for applied in log.next_committed(random.randrange(200)):
                            log.applied_to(applied.index)
                case _:
                    if log.applied > stored.base.index:
                        stored.compact(Index(random.randint(stored.base.index, log.applied)))
            first = log.first_index()
            assert log.last == len(model)
            low = random.randint(first, log.last + 1)
            assert list(log.slice(Index(low), Index(log.last + 1), NO_LIMIT)) == model[low - 1 :]
            for index in range(first, log.last + 1):
                assert log.term(Index(index)) == model[index - 1].term


def test_section_5_3_a_follower_replaces_only_what_conflicts() -> None:
    """Entries that are there already change nothing; the first that differs replaces the rest."""
    log, _ = make(1, 1, 2, 2)
    assert log.maybe_append(Index(1), Term(1), (entry(1, 2), entry(2, 3)), Index(0)) == 3
    assert log.last == 4
    assert log.maybe_append(Index(2), Term(1), (entry(3, 3),), Index(9)) == 3
    assert (log.last, log.term(Index(3)), log.committed) == (3, 3, 3)
    assert log.stable == 2


def test_a_committed_entry_is_never_replaced() -> None:
    """A leader that wants to replace a committed entry is refused as corruption."""
    log, _ = make(1, 1)
    log.commit_to(Index(2))
    with pytest.raises(CorruptionError, match="committed"):
        log.maybe_append(Index(1), Term(1), (entry(2, 2),), Index(0))


def test_a_commit_beyond_the_log_is_corruption() -> None:
    """A leader that knows more of us than we have means that entries were lost here."""
    log, _ = make(1)
    with pytest.raises(CorruptionError, match="gone"):
        log.commit_to(Index(2))


def test_a_machine_ahead_of_its_log_is_corruption() -> None:
    """A log that ends before what was applied has lost entries."""
    stored = MemoryLog(SnapshotMeta(Index(0), Term(0), ConfState()))
    with pytest.raises(CorruptionError, match="applied"):
        RaftLog(stored, Index(3), 0)


def test_section_5_4_1_the_later_log_is_the_better_one() -> None:
    """The higher last term wins; with equal terms the longer log does."""
    log, _ = make(1, 2)
    assert log.is_up_to_date(Index(1), Term(3))
    assert log.is_up_to_date(Index(2), Term(2))
    assert log.is_up_to_date(Index(3), Term(2))
    assert not log.is_up_to_date(Index(1), Term(2))
    assert not log.is_up_to_date(Index(9), Term(1))


@pytest.mark.parametrize(
    ("index", "term", "found"),
    [
        (5, 5, (5, 4)),
        (5, 4, (5, 4)),
        (5, 3, (3, 2)),
        (5, 1, (2, 1)),
        (5, 0, (0, 0)),
        (9, 9, (9, 0)),
    ],
)
def test_a_hint_skips_whole_terms(index: int, term: int, found: tuple[int, int]) -> None:
    """The place where two logs may agree is the last one whose term is not too high."""
    log, _ = make(1, 1, 2, 4, 4)
    assert log.find_conflict_by_term(Index(index), Term(term)) == found


def test_slices_are_bounded_but_never_empty() -> None:
    """A byte limit cuts a slice, across storage and memory, but one entry always goes."""
    log, _ = make(1, 1, kept=NO_LIMIT)
    log.append(entry(1, 3))
    assert len(log.slice(Index(1), Index(4), 0)) == 1
    assert len(log.slice(Index(1), Index(4), 2 * 17)) == 2
    assert len(log.slice(Index(1), Index(4), NO_LIMIT)) == 3


def test_what_is_out_of_the_log_says_why() -> None:
    """Below the first entry it was compacted, above the last it is missing."""
    log, stored = make(1, 1, 1, base=5)
    log.commit_to(Index(7))
    stored.compact(Index(6))
    with pytest.raises(CompactedError):
        log.term(Index(5))
    with pytest.raises(CompactedError):
        log.slice(Index(6), Index(8), NO_LIMIT)
    with pytest.raises(MissingError):
        log.slice(Index(7), Index(10), NO_LIMIT)
    with pytest.raises(MissingError):
        log.term(Index(9))


def test_a_snapshot_stands_for_the_whole_log_until_it_is_installed() -> None:
    """While a snapshot waits there is nothing to apply, and its index and term are the last."""
    log, stored = make(1, 1)
    snapshot = Snapshot(SnapshotMeta(Index(9), Term(3), ConfState()))
    log.restore(snapshot)
    assert (log.first_index(), log.last, log.last_term, log.committed) == (10, 9, 3, 9)
    assert not log.next_committed(NO_LIMIT)
    with pytest.raises(CompactedError):
        log.term(Index(2))
    stored.install(snapshot)
    log.snapshot_installed(Index(9))
    assert log.applied == 9
    assert log.matches(Index(9), Term(3))


def test_entries_that_were_replaced_meanwhile_are_not_stable() -> None:
    """A late note that entries were stored does not count for their replacements."""
    log, _ = make()
    log.append(entry(1, 1))
    log.maybe_append(Index(0), Term(0), (entry(2, 1),), Index(0))
    log.stored_to(Index(1), Term(1))
    assert log.stable == 0
    assert log.unstable() == (entry(2, 1),)
