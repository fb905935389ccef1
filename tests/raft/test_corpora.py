"""The core against the cases that etcd tests its own with, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.corpora import confchange, interaction, quorum

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.corpora.tally import Tally

FOLDER = os.environ.get("RAFTORAL_CORPORA", "")


@pytest.mark.skipif(not FOLDER, reason="RAFTORAL_CORPORA names no folder of test data")
@pytest.mark.parametrize(
    "check",
    [quorum.check, confchange.check, *interaction.CHECKS],
    ids=["quorum", "confchange", "interaction-states", "interaction"],
)
def test_every_case_of_etcd_agrees(check: Callable[[Path], Tally]) -> None:
    """Quorums, membership steps and whole transcripts come out as etcd's do."""
    tally = check(Path(FOLDER))
    if not tally.total:
        pytest.skip(f"{tally.name} is not in {FOLDER}")
    assert not tally.failures, "\n".join(tally.failures)
