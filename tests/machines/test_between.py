"""Between groups: whatever the network does to messages, each counts once (semantics 6.3)."""

from __future__ import annotations

from random import Random

import pytest

from tests.machines.pair import Pair


@pytest.mark.parametrize("seed", range(12))
def test_a_child_starts_once_and_its_end_is_told_once(seed: int) -> None:
    """With loss, repetition, delay, reorder and forgetting: one start, one end, nothing stays behind.

    Semantics 6.3. Every child that was asked for began exactly once; every parent that still
    waited was told exactly the end that its child had; a child that was left was closed by its
    policy; in the end no message waits, and nothing is kept for another group's sake.
    """
    pair = Pair(Random(seed))
    for turn in range(1_200):
        if turn % 40 == 0:
            pair.start(f"r{turn}")
        pair.turn()
    pair.calm()
    closed = [child for child in pair.left if pair.asked[child].close != "abandon"]
    assert pair.stopped.issuperset(closed)
    pair.finish()
    assert len(pair.asked) > 20
    for child, asked in pair.asked.items():
        assert pair.started[child] == 1, child
        told = pair.told.get(child, [])
        assert told == [pair.ends[child]] * len(told)
        assert len(told) <= 1
        assert told or asked.detached or child in pair.left, f"{child} ended unheard"
    for side in pair.sides:
        pair.forget(side)
    assert pair.left_over() == []
