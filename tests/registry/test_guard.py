"""The names that a workflow runs with: clocks and the like are refused, all else is untouched."""

from __future__ import annotations

import builtins
import io
import pdb
import pickle
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import NotRepeatable
from raftoral.ids import Millis
from raftoral.registry.guard import guarded
from raftoral.registry.python import start_python
from raftoral.replay.effects import Compute
from raftoral.replay.history import Started
from tests.registry import guarded as sample

if TYPE_CHECKING:
    from raftoral.replay.effects import Workflow


def run(flow: Workflow[Any, Any], *given: str, answer: object = None) -> Any:
    """Run a workflow, answering each effect with ``answer``, and return its result."""
    named = dict(zip(flow.signature.parameters, given, strict=True))
    body = start_python(flow, Started(flow.name, 1, "", dict(named), Millis(0), "", 0))
    try:
        body.generator.send(None)
        while True:
            body.generator.send(answer)
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize(
    "name",
    [
        *("time.time", "time.monotonic", "random.random", "random.randint", "random.Random"),
        *("uuid.uuid4", "os.getenv", "os.environ", "os.path.exists", "os.getcwd", "time.ctime"),
        *("datetime.datetime.now", "threading.Thread", "pathlib.Path", "open", "print", "id"),
        *("hash", "time.sleep"),
    ],
)
def test_a_forbidden_name_is_refused_where_it_is_used(name: str) -> None:
    """However a clock, a die or a file came into the module, its use says what to write instead."""
    with pytest.raises(NotRepeatable, match=rf"RPY15: `{name}` \(guarded.py:\d+\).*; .*`") as error:
        run(sample.uses, name)
    assert error.traceback[-1].path.name == "refusals.py"
    assert any(entry.path.name == "guarded.py" for entry in error.traceback)


@pytest.mark.parametrize("which", ["plain", "inner", "flow"])
def test_helpers_of_the_module_are_guarded_too(which: str) -> None:
    """A helper of the same module runs with the same names, whether it yields or not."""
    with pytest.raises(NotRepeatable, match=r"`time.monotonic`"):
        run(sample.helpers, which)


def test_a_decorated_workflow_is_guarded_and_still_decorated() -> None:
    """A decorator of the application runs as it did, around guarded code."""
    before = sample.decorated.function.calls  # type: ignore[attr-defined]
    with pytest.raises(NotRepeatable, match=r"`time.time`"):
        run(sample.decorated, "x")
    assert sample.decorated.function.calls == before + 1  # type: ignore[attr-defined]


def test_everything_else_works_as_ever() -> None:
    """`isinstance`, `match`, pickled data, pure parts of modules and exceptions are what they were."""
    assert all(run(sample.fine, "x"))


def test_an_activity_by_use_is_the_function_itself() -> None:
    """A function of the module that a `Compute` names is run unguarded, as the owner runs it."""
    body = start_python(sample.fine, Started("fine", 1, "", {"name": "x"}, Millis(0), "", 0))
    effect = next(body.generator)
    assert isinstance(effect, Compute)
    assert effect.call.function is sample.noisy
    assert sample.noisy("x") > 0


def test_closures_are_shared() -> None:
    """A closure keeps its cell, so both see one state."""
    assert run(sample.closure, "x") == 1
    assert sample.add() == 2


def test_a_comment_allows_the_use_at_run_too() -> None:
    """What the lint lets through with a reason, the guard lets through."""
    assert run(sample.allowed, "x") > 0


def test_nothing_outside_of_the_copy_changes() -> None:
    """Modules, builtins and the workflow's own module are the same after a run as before."""
    before = dict(vars(sample)), dict(vars(builtins)), dict(vars(time)), dict(vars(random))
    run(sample.changes, "names")
    with pytest.raises(NotRepeatable, match="may not change the module time"):
        run(sample.changes, "module")
    after = dict(vars(sample)), dict(vars(builtins)), dict(vars(time)), dict(vars(random))
    assert before == after
    assert isinstance(1, int)
    assert sample.RATE == 3


def test_the_copy_follows_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test puts into the module is what the next run sees; a run under way keeps its own."""
    function = sample.fine.function
    first = guarded(function)
    assert guarded(function) is first
    monkeypatch.setattr(sample, "RATE", 4)
    assert guarded(function).__globals__["RATE"] == 4
    assert first.__globals__["RATE"] == 3
    monkeypatch.setattr(builtins, "ascii", repr)
    assert guarded(function).__globals__["__builtins__"]["ascii"] is repr


def test_refused_names_pickle_as_what_they_stand_for() -> None:
    """A refused function that is written somewhere comes back as the function."""
    names = guarded(sample.uses.function).__globals__
    assert pickle.loads(pickle.dumps(names["monotonic"])) is time.monotonic
    assert repr(names["Path"]) == repr(Path)
    assert isinstance(Path(), names["Path"])
    assert issubclass(Path, names["Path"])


def test_a_breakpoint_stops_in_the_workflow_and_shows_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`breakpoint()` and pdb work on the author's lines, and what is typed there is not refused."""
    typed = io.StringIO("p text\nprint('typed', time.time() > 0)\nw\nnext\np text\ncontinue\n")
    shown = io.StringIO()

    class Typed(pdb.Pdb):
        def __init__(self) -> None:
            super().__init__(stdin=typed, stdout=shown, nosigint=True, readrc=False)

    def stop() -> None:
        import sys

        Typed().set_trace(sys._getframe(1))

    monkeypatch.setattr("sys.breakpointhook", stop)
    assert run(sample.stops, "quiet") == "QUIET"
    text = shown.getvalue()
    assert text.count("'QUIET'") == 2
    assert "guarded.py" in text
    assert "yield from Log(text)" in text
    assert "NotRepeatable" not in text
