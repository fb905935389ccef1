"""Everything about the language that is made by chance, for as long as there is time.

    make fuzz MINUTES=10
    .venv/bin/python -m tests.lang.fuzz --only pairs --seed 4711 --cases 1

Each case has a number from which all of it follows. The first that fails is printed with the
command that runs it again, and ends the process with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final

from raftoral._assets import asset
from raftoral.lang.compile import compile_source
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.registry.files import beside
from tests.lang import test_ir, test_pairs, test_trees
from tests.lang.damage import damaged
from tests.lang.trees import Maker, write

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES: Final = sorted(asset("workflows").rglob("*.rwf"))


def trees(chance: Random) -> None:
    """Make a tree, write it, read it, lay it out."""
    test_trees.check(Maker(lambda n: chance.randrange(n)).file())


def pairs(chance: Random) -> None:
    """Make a program and its twin, and hold their histories together."""
    test_pairs.check(chance.randrange(2**32))


def texts(chance: Random) -> None:
    """Damage a sample, or a tree that was written, and compile it."""
    if chance.random() < 0.2:
        text, load = write(Maker(lambda n: chance.randrange(n)).file()), None
    else:
        path = chance.choice(PAGES)
        text, load = path.read_text(), beside(path)
    text = damaged(text, chance)
    compiled = compile_source(Source("x.rwf", text), load)
    render_all(compiled.diagnostics, compiled.source)


def programs(chance: Random) -> None:
    """Spoil a stored program and run one of its tests."""
    path = chance.choice(PAGES)
    name = str(path.relative_to(asset("workflows")))
    trials = test_ir.sample(name).trials
    if trials:
        unit = chance.choice(test_ir.sample(name).units)
        test_ir.run_instead(name, test_ir.spoilt(unit.ir, chance), chance)


KINDS: Final[dict[str, Callable[[Random], None]]] = {
    "trees": trees,
    "texts": texts,
    "programs": programs,
    "pairs": pairs,
}


def main(arguments: list[str]) -> int:
    """Run cases until time or number is up; return 1 for one that fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.lang.fuzz")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--cases", type=int, default=0, help="stop after so many cases")
    parser.add_argument("--seed", type=int, default=0, help="the first case; 0 takes any")
    parser.add_argument("--only", choices=sorted(KINDS))
    given = parser.parse_args(arguments)
    end = time.monotonic() + given.minutes * 60
    seed = given.seed or time.time_ns() % 1_000_000_000
    done: Counter[str] = Counter()
    while time.monotonic() < end and not 0 < given.cases <= done.total():
        kind = given.only or Random(seed).choice(list(KINDS))
        try:
            KINDS[kind](Random(f"{kind} {seed}"))
        except Exception:
            traceback.print_exc()
            print(f"again: python -m tests.lang.fuzz --only {kind} --seed {seed} --cases 1")
            return 1
        done[kind] += 1
        seed += 1
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.items()))
    print(f"{done.total():,} cases, none of them failed: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
