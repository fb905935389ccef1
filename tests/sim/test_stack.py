"""Whole nodes in the simulator: management, two execution groups and workflows, under all faults."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raftoral.sim.cluster import Options
from raftoral.sim.soak import quiet
from raftoral.sim.stack.cluster import StackCluster

OPTIONS = Options(seconds=15.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_whole_stack_keeps_its_promises(seed: int) -> None:
    """Nothing acknowledged is lost, nothing settled twice, and every run ends after the faults."""
    with quiet():
        report = StackCluster(seed, OPTIONS).run()
    assert report.violation is None, f"make sim SEED={seed} LAYER=workflows: {report.violation}"
    assert report.count["settled: Done"] > 0


def test_a_seed_is_a_story_also_under_another_order_of_hashes() -> None:
    """The same seeds give the same hashes over everything that happened."""
    code = (
        "from raftoral.sim.stack.cluster import StackCluster\n"
        "from raftoral.sim.cluster import Options\n"
        "from raftoral.sim.soak import quiet\n"
        "for seed in (1, 3):\n"
        "    with quiet(): print(StackCluster(seed, Options(seconds=8.0)).run().digest)\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1
