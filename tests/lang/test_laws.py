"""Each sample program and its twin in Python are one workflow: they have the same histories."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raftoral import Registry
from raftoral._assets import asset
from raftoral.lang.compile import Compiled, Source, compile_source
from raftoral.registry.files import beside
from raftoral.replay.effects import Workflow
from raftoral.replay.history import Started
from raftoral.testing.trials import _definitions, _Trying
from raftoral.testing.world import World

if TYPE_CHECKING:
    from types import ModuleType

    from raftoral.lang.check.trials import Trial
    from raftoral.replay.history import Event

TWINS = Path(__file__).parent / "twins"
SAMPLES = ["shop_v1", "shop_v2", "trip", "approval", "album", "batch", "subscription"]


@cache
def compiled(name: str) -> Compiled:
    """Return a compiled sample."""
    path = asset("workflows") / f"{name}.rwf"
    return compile_source(Source(path.name, path.read_text()), beside(path))


@cache
def twin(name: str) -> ModuleType:
    """Load a twin by its path, as an application does."""
    path = TWINS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"twins_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"twins_{name}"] = module
    spec.loader.exec_module(module)
    return module


class Python(_Trying):
    """Runs a test block of a program on its Python twin."""

    def world_of(self, mocks: dict[str, Any]) -> World:
        """Return a world where the twin has the name of the program."""
        trial = self.trial
        module = twin(
            self.compiled.source.path.removesuffix(".rwf").removesuffix("_v1").removesuffix("_v2")
        )
        workflows = [one for one in vars(module).values() if isinstance(one, Workflow)]
        own = [one for one in workflows if one.version == trial.version]
        children = [one for one in _definitions(self.compiled, trial) if one.name != trial.workflow]
        return World(Registry(workflows=own), definitions=children, mocks=mocks)


def told(events: tuple[Event, ...]) -> list[object]:
    """Return a history without the hash of the definition, which differs."""
    return [e._replace(meaning_hash="") if isinstance(e, Started) else e for e in events]


CASES = [(name, trial) for name in SAMPLES for trial in compiled(name).trials]


@pytest.mark.parametrize(("name", "trial"), CASES, ids=[f"{n}-{t.title[:40]}" for n, t in CASES])
def test_a_program_and_its_twin_have_one_history(name: str, trial: Trial) -> None:
    """Event by event, calls, policies and failures included, on every way that the tests take."""
    mine = _Trying(trial, compiled(name)).verdict()
    theirs = Python(trial, compiled(name)).verdict()
    assert mine.wrong == theirs.wrong == ()
    assert told(mine.events) == told(theirs.events)
