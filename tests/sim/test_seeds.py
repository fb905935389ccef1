"""Seeded clusters: what must hold holds, and the same seed is the same run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raftoral.sim.cluster import Cluster, Options
from raftoral.sim.soak import Soak, quiet

SHORT = Options(seconds=12.0)


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_seed_holds(seed: int) -> None:
    """Under this seed's faults nothing that must hold breaks, and afterwards all comes right."""
    with quiet():
        report = Cluster(seed, SHORT).run()
    assert report.violation is None, f"{report.violation}\nmake sim SEED={seed}"
    assert report.count["writes"] > 0


def test_a_seed_is_one_run() -> None:
    """The same seed gives the same events, in other processes and under other string hashes."""
    program = (
        "from raftoral.sim.cluster import Cluster, Options\n"
        "from raftoral.sim.soak import quiet\n"
        "with quiet():\n"
        "    for seed in (3, 4):\n"
        "        print(Cluster(seed, Options(seconds=15.0)).run().digest)\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "2024")
    }
    assert len(digests) == 1
    first, second = digests.pop().split()
    assert first != second


def test_a_failure_names_its_sentence_and_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A violation is told with the sentence that broke and the command that shows it again."""
    lines: list[str] = []
    soak = Soak(Options(), lines.append)
    monkeypatch.setattr(Cluster, "_compare", lambda self: self.checkers.fail("this holds", "not"))
    soak.one(7)
    assert lines[0] == "VIOLATION this holds: not"
    assert lines[1].endswith("make sim SEED=7")
    assert lines[-1].endswith("1 violations")
