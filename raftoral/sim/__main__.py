"""`python -m raftoral.sim` runs one seed, many, or many with planted bugs."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from raftoral.sim.cluster import Options
from raftoral.sim.soak import CONSENSUS, Soak, any_seed, hunt_all
from raftoral.sim.stack.layer import WORKFLOWS


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 if all held, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m raftoral.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="the seed to run, or the first of many")
    parser.add_argument("--minutes", type=float, help="run seed after seed for so long")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the faults last")
    parser.add_argument("--nodes", type=int, help="how many nodes; else the seed chooses")
    parser.add_argument("--groups", type=int, help="how many groups; else the seed chooses")
    parser.add_argument("--trace", type=Path, help="write the steps of the first group there")
    parser.add_argument(
        "--layer",
        choices=(CONSENSUS.name, WORKFLOWS.name),
        default=CONSENSUS.name,
        help="how much of a node is simulated: its groups, or all of it with workflows",
    )
    parser.add_argument("--mutants", action="store_true", help="plant bugs, and count the caught")
    asked = parser.parse_args(arguments)
    seed = any_seed() if asked.seed is None else asked.seed
    if asked.mutants:
        return 0 if hunt_all(1 if asked.seed is None else seed, _say) else 1
    if asked.trace is not None and asked.minutes is not None:
        parser.error("--trace is of one seed; leave --minutes out")
    with ExitStack() as stack:
        trace = None
        if asked.trace is not None:
            trace = stack.enter_context(asked.trace.open("w", encoding="ascii")).write
        options = Options(
            nodes=asked.nodes, groups=asked.groups, seconds=asked.seconds, trace=trace
        )
        layer = WORKFLOWS if asked.layer == WORKFLOWS.name else CONSENSUS
        return _soak(Soak(options, _say, layer), seed, asked.minutes)


def _soak(soak: Soak, seed: int, minutes: float | None) -> int:
    if minutes is None:
        _say(f"seed {seed}")
        soak.one(seed)
    else:
        _say(f"seeds from {seed} on")
        soak.many(seed, minutes)
    return 1 if soak.totals.violations else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
