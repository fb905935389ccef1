"""Planted bugs: a simulator that finds none is a simulator that checks nothing."""

from __future__ import annotations

import pytest

from raftoral.sim import evidence
from raftoral.sim.mutants import MUTANTS, mutant_named, planted
from raftoral.sim.soak import hunt

QUICK = {
    "acknowledge before the sync": evidence.DISK_BEFORE_WIRE,
    "forget the vote": evidence.NEVER_BACK,
    "vote twice": evidence.ONE_VOTE,
    "commit beyond the quorum": evidence.COMMITTED_IS_DURABLE,
    "apply twice after a restart": evidence.STATE_MACHINE_SAFETY,
}


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught(name: str) -> None:
    """The bug breaks the sentence that it is about, within a few seeds."""
    hunts = (hunt(mutant_named(name), [seed], seconds=20.0) for seed in range(1, 9))
    assert any(found.violation.startswith(QUICK[name]) for found in hunts)


def test_a_mutant_leaves_nothing_behind() -> None:
    """After a hunt the code is what it was."""
    for mutant in MUTANTS:
        right = getattr(mutant.owner, mutant.attribute)
        with planted(mutant):
            assert getattr(mutant.owner, mutant.attribute) is not right
        assert getattr(mutant.owner, mutant.attribute) is right


def test_mutants_have_names_of_their_own() -> None:
    """Each planted bug can be asked for by its name."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
