"""The core against the cases that etcd tests its own with, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import transcript
from tests.corpora import confchange, interaction, quorum
from tests.corpora.tally import common_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.corpora.tally import Tally

OWN = sorted(Path(__file__).parent.glob("interaction/*.txt"))
FOLDER = os.environ.get("RAFTORAL_CORPORA", "")


@pytest.mark.skipif(not FOLDER, reason="RAFTORAL_CORPORA names no folder of test data")
@pytest.mark.parametrize(
    "check",
    [
        quorum.check,
        confchange.check,
        lambda root: interaction.check(root)[0],
        lambda root: interaction.check(root)[1],
    ],
    ids=["quorum", "confchange", "interaction-states", "interaction-lines"],
)
def test_every_case_of_etcd_agrees(check: Callable[[Path], Tally]) -> None:
    """Quorums, membership steps and whole transcripts come out as etcd's do."""
    tally = check(Path(FOLDER))
    if not tally.total:
        pytest.skip(f"{tally.name} is not in {FOLDER}")
    assert tally.right == tally.total, "\n".join(tally.failures)


@pytest.mark.skipif(not FOLDER, reason="RAFTORAL_CORPORA names no folder of test data")
def test_a_group_with_slow_disks_ends_where_etcds_ends() -> None:
    """With Readys that overtake each other, members say of their state what etcd's say without."""
    compared = 0
    for path in sorted(Path(FOLDER).glob("etcd-raft-interaction/*.txt")):
        group = interaction.Group()
        for block in transcript.read(path.read_text(encoding="utf-8")):
            if block.name == "add-nodes":
                block.args.setdefault("async-storage-writes", ["true"])
            answer = group.handle(block)
            if block.name in ("raft-log", "raft-state", "status") and _is_settled(group):
                compared += 1
                assert answer.split("\n") == block.expected.split("\n"), f"{path.name}:{block.line}"
    if not compared:
        pytest.skip(f"no interaction transcripts in {FOLDER}")


def _is_settled(group: interaction.Group) -> bool:
    return not group.wire and not any(p.to_append or p.to_apply or p.has_ready for p in group.peers)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_own_transcripts_in_etcds_form(path: Path, rewrite: bool) -> None:
    """What etcd's transcripts at hand do not show comes out as etcd's rules say."""
    transcript.run(path, interaction.Group().handle, rewrite=rewrite)


def test_an_unknown_command_counts_as_lines_that_did_not_come(tmp_path: Path) -> None:
    """What the runner cannot do is not left out of the count."""
    folder = tmp_path / "etcd-raft-interaction"
    folder.mkdir()
    (folder / "a.txt").write_text("juggle 1\n----\nup\ndown\n\nlog-level none\n----\nok\n")
    states, everything = interaction.check(tmp_path)
    assert (states.right, states.total) == (1, 2)
    assert (everything.right, everything.total) == (1, 3)
    assert not everything.is_good


def test_lines_count_in_their_order() -> None:
    """The longest common part counts, whatever stands between."""
    assert common_lines("abcd", "abcd") == 4
    assert common_lines("xbyd", "abcd") == 2
    assert common_lines("dcba", "abcd") == 1
    assert common_lines("", "abcd") == 0
