"""`python -m raftoral.sim` runs simulated clusters."""

from __future__ import annotations

import argparse
import logging
import sys
from random import SystemRandom
from time import perf_counter

from raftoral.sim.cluster import Cluster, Options


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m raftoral.sim")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--groups", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    a = parser.parse_args()
    logging.getLogger("raftoral").setLevel(logging.CRITICAL + 1)
    seed = a.seed if a.seed is not None else SystemRandom().randrange(1 << 31)
    t = perf_counter()
    r = Cluster(seed, Options(nodes=a.nodes, groups=a.groups, seconds=a.seconds)).run()
    t = perf_counter() - t
    print(seed, r.violation, f"{r.seconds:.0f}s sim in {t:.1f}s = {r.seconds / t:.0f}x", r.events, r.digest, r.converged_in)
    print(dict(sorted(r.count.items())))
    return 1 if r.violation else 0


sys.exit(main())
