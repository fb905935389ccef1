"""Replays histories in processes of their own, where hashes of text are salted otherwise.

The other half is `raftoral.testing.elsewhere`: it needs the code and the histories only, so no mock has
to cross the boundary between the processes.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from raftoral.errors import UsageError
from raftoral.replay.effects import Workflow
from raftoral.testing.elsewhere import DIFFERS, Where
from raftoral.testing.mocks import Takes
from raftoral.testing.running import Options, Plan, Tested, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.testing.running import Mocks, Tests
    from raftoral.testing.world import World

R = TypeVar("R")

HASH_SEEDS: Final = ("1", "2")
"""The salts (PYTHONHASHSEED) of the two processes; sets of text are in another order under each."""

SECONDS_MAX: Final = 300


def run_twice(workflow: Tests[R], /, *args: Any, **options: Unpack[Options]) -> Tested[R]:
    """Run ``workflow``, and again with other latencies; replay both in processes of other hash seeds.

    The arguments are those of `run`, whose outcome is returned. `AssertionError` names the history that
    was not repeated, with both sides: the code depends on the order of a set, on a hash, or on what is
    left from another run. A Python workflow has to stand at the top of a module.
    """
    plan: Plan[R] = plan_of(workflow, args, options)
    where = where_of(workflow)
    first, second = plan.run(), plan.run(_slower)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("first.rhx", "other-latencies.rhx")]
        for path, tested in zip(paths, (first, second), strict=True):
            tested.save(path)
        found = replayed_elsewhere(paths, where)
    if found:
        raise AssertionError(found)
    return first


def _slower(world: World, mocks: Mocks) -> None:
    """Have each attempt take some milliseconds, always the same ones."""
    chance = Random(1)  # noqa: S311 - the dice of a test

    def choose(name: str, real: Callable[..., Any] | None) -> Callable[..., Any]:
        function = mocks.choose(name, real)

        def slower(*args: Any, **kwargs: Any) -> Any:
            outcome = function(*args, **kwargs)
            span = f"{chance.randrange(1, 50)}ms"
            waits = isinstance(outcome, Takes) or inspect.iscoroutine(outcome)
            return outcome if waits else Takes(span, outcome)

        return slower

    world.choose = choose


def where_of(workflow: Tests[Any]) -> Where:
    """Return where another process finds a workflow; `UsageError` if it cannot."""
    if not isinstance(workflow, Workflow):
        return Where()
    function = inspect.unwrap(workflow.function)
    module = sys.modules.get(function.__module__)
    file = inspect.getsourcefile(function)
    if module is None or file is None or workflow not in vars(module).values():
        raise UsageError(
            f"another process cannot find the workflow {workflow.name}: let it stand at the top of "
            f"its module, not inside of {function.__qualname__.rpartition('.')[0] or 'a prompt'}"
        )
    return Where("", module.__name__, file, workflow.name, workflow.version)


def replayed_elsewhere(paths: Iterable[Path], where: Where) -> str:
    """Replay histories under each hash seed; return what did not fit, empty if all did.

    `UsageError` with the output of a process that could not find the code, or died.
    """
    found = ""
    for seed in HASH_SEEDS:
        done = subprocess.run(  # noqa: S603 - this interpreter, on this library
            [sys.executable, "-m", "raftoral.testing.elsewhere", json.dumps(asdict(where)), *paths],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        if done.returncode == DIFFERS:
            found += f"with PYTHONHASHSEED={seed}, {done.stdout}"
        elif done.returncode:
            raise UsageError(
                f"the process that replays with PYTHONHASHSEED={seed} failed\n{done.stderr.strip()}"
            )
    return found
