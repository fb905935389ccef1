"""Seed after seed: runs, totals, and what is said about them.

Owns what a person reads: one line a simulated minute at most, a total at the end, and for a failure
the sentence that did not hold with the command that shows it again. Never decides what happens.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import SystemRandom
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final

from raftoral.sim.cluster import Cluster, Options
from raftoral.sim.mutants import MUTANTS, planted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raftoral.sim.cluster import Report
    from raftoral.sim.mutants import Mutant

MUTANT_SECONDS: Final = 30.0
MUTANT_SEEDS: Final = 60
"""A mutant that outlives so many runs is missed."""

RARE: Final = (
    "appends refused",
    "bits flipped",
    "clocks set",
    "connections lost",
    "crashes at: send",
    "crashes at: synced",
    "crashes at: write",
    "crashes at: written",
    "crashes of all",
    "damage found",
    "disks failed",
    "elections won",
    "frames cut",
    "frames doubled",
    "frames lost",
    "frames reordered",
    "hang-ups",
    "joint entered",
    "joint left",
    "leaders stepped down",
    "leadership handed over",
    "learners promoted",
    "links clogged",
    "logs truncated",
    "nodes replaced",
    "outcomes unknown",
    "partitions",
    "partitions one way",
    "pauses",
    "pre-votes refused",
    "read barriers",
    "refused: not_leader",
    "refused: proposal_dropped",
    "repeated with the same id",
    "restarts",
    "slow syncs",
    "snapshots installed",
    "tails lost",
    "tails torn",
    "transfers asked",
    "votes refused",
    "writes",
)
"""What a long soak must have seen; what stays at zero was not tested."""


def any_seed() -> int:
    """Return a seed that nobody chose."""
    return SystemRandom().randrange(1 << 31)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's log silent: a simulated node may complain thousands of times."""
    logger = logging.getLogger("raftoral")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Layer:
    """How much of a node is simulated: which cluster is run, and what a soak must have seen."""

    name: str
    cluster: Callable[[int, Options], Cluster]
    rare: Sequence[str]


CONSENSUS: Final = Layer("consensus", Cluster, RARE)


@dataclass(slots=True)
class Totals:
    """What all runs of a soak were together."""

    runs: int = 0
    seconds: float = 0.0
    events: int = 0
    slowest: float = 0.0
    count: Counter[str] = field(default_factory=Counter)
    violations: int = 0

    def add(self, report: Report) -> None:
        """Count one run."""
        self.runs += 1
        self.seconds += report.seconds
        self.events += report.events
        self.slowest = max(self.slowest, report.converged_in)
        self.count.update(report.count)
        self.violations += report.violation is not None

    def never(self, rare: Sequence[str]) -> list[str]:
        """Return what of ``rare`` did not happen once."""
        return [name for name in rare if not self.count[name]]


class Soak:
    """Runs with the same options; ``say`` is given each line."""

    def __init__(
        self, options: Options, say: Callable[[str], None], layer: Layer = CONSENSUS
    ) -> None:
        self.options = options
        self.say = say
        self.layer = layer
        self.totals = Totals()
        self._began = perf_counter()
        self._began_cpu = process_time()

    def one(self, seed: int) -> Report:
        """Run one seed and say how it goes."""
        report = self._run(seed, lambda seconds: self.say(f"seed {seed}: {seconds / 60:.0f} min"))
        self.finish()
        return report

    def many(self, first: int, minutes: float) -> None:
        """Run seed after seed for ``minutes`` of real time, or to the first violation."""
        said, seed = 0.0, first
        while perf_counter() - self._began < minutes * 60 and not self.totals.violations:
            self._run(seed, lambda _seconds: None)
            seed += 1
            if self.totals.seconds - said >= 3_600:
                said = self.totals.seconds
                self.say(self._line())
        self.finish()

    def _run(self, seed: int, on_minute: Callable[[float], None]) -> Report:
        with quiet():
            report = self.layer.cluster(seed, self.options).run(on_minute)
        self.totals.add(report)
        if report.violation is not None:
            self.say(f"VIOLATION {report.violation}")
            self.say(f"seed {seed}, after {report.seconds:.3f} s: {self._command(seed)}")
        return report

    def _command(self, seed: int) -> str:
        layer = self.layer.name
        if self.options == Options():
            return f"make sim SEED={seed}" + (f" LAYER={layer}" if layer != CONSENSUS.name else "")
        parts = [f"python -m raftoral.sim --seed {seed} --seconds {self.options.seconds:g}"]
        parts += [f"--layer {layer}"] if layer != CONSENSUS.name else []
        parts += [f"--nodes {self.options.nodes}"] if self.options.nodes else []
        parts += [f"--groups {self.options.groups}"] if self.options.groups else []
        return " ".join(parts)

    def finish(self) -> None:
        """Say what came of it."""
        totals = self.totals
        counts = ", ".join(f"{name} {number:,}" for name, number in sorted(totals.count.items()))
        self.say(counts)
        if never := totals.never(self.layer.rare):
            self.say(f"never happened: {', '.join(never)}")
        self.say(f"{self._line()}, {totals.violations} violations")

    def _line(self) -> str:
        totals, took = self.totals, process_time() - self._began_cpu
        return (
            f"{totals.seconds / 3_600:.2f} simulated hours in {totals.runs} runs, "
            f"{totals.events:,} events, {totals.seconds / took:.0f} times real time on a core, "
            f"slowest convergence {totals.slowest:.1f} s"
        )


# ------------------------------------------------------------------ planted bugs
@dataclass(frozen=True, slots=True)
class Hunt:
    """One planted bug: which seed found it in how many seconds of real time, and by what."""

    mutant: Mutant
    seed: int | None
    took: float
    violation: str


def hunt(mutant: Mutant, seeds: Sequence[int], seconds: float = MUTANT_SECONDS) -> Hunt:
    """Run with a planted bug until a check notices it."""
    began = perf_counter()
    with quiet(), planted(mutant):
        for seed in seeds:
            violation = Cluster(seed, Options(seconds=seconds)).run().violation
            if violation is not None:
                return Hunt(mutant, seed, perf_counter() - began, violation)
    return Hunt(mutant, None, perf_counter() - began, "")


def hunt_all(first: int, say: Callable[[str], None]) -> bool:
    """Hunt every planted bug; True if none was missed."""
    hunts = []
    for mutant in MUTANTS:
        found = hunt(mutant, range(first, first + MUTANT_SEEDS))
        hunts.append(found)
        how = f"by {found.violation.split(':')[0]}" if found.seed is not None else "MISSED"
        say(f"{found.took:6.1f} s  {mutant.name}: {how}")
    caught = sum(found.seed is not None for found in hunts)
    say(f"{caught}/{len(hunts)} caught, median {median(found.took for found in hunts):.1f} s")
    return caught == len(hunts)
