"""Replays stored histories on the code of today, so that a change which breaks a live run is seen.

A history is an `.rhx` file: exported from a cluster (`raftoral history RUN --export FILE`), or saved
by a test (`Tested.save`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from raftoral.errors import CorruptionError, UnknownDefinition, UsageError
from raftoral.ids import RunId
from raftoral.lang import compile as language
from raftoral.registry.app import Registry
from raftoral.registry.definition import Definition
from raftoral.registry.python import start_python
from raftoral.replay.divergence import Divergence, explain, render
from raftoral.replay.history import check, decode
from raftoral.runtime.rhx import read_rhx

if TYPE_CHECKING:
    from raftoral.replay.advancing import Begin, Body
    from raftoral.replay.effects import Workflow
    from raftoral.replay.history import Started
    from raftoral.runtime.views import HistoryView

Code: TypeAlias = "Workflow[..., Any] | Registry | Definition | None"
"""What a history is replayed on; None is the `.rwf` code that the history carries itself."""


def replay(path: str | Path, code: Code = None) -> None:
    """Require that ``code`` repeats the history in the file ``path``; pure, no activity is called.

    `AssertionError` says what was inserted, removed, moved, renamed or changed, with the table of both
    sides and the lines. `UsageError` for a file that is none, or code that does not belong to it.
    """
    found = departure(load(path), code)
    if found is not None:
        told = "\n".join(render(found))
        raise AssertionError(f"the history in {path} does not fit the code\n{told}")


def load(path: str | Path) -> HistoryView:
    """Return a stored history; `UsageError` if the file cannot be read or holds none."""
    try:
        view = read_rhx(Path(path).read_bytes())
        for data in view.events:
            check(decode(data))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except CorruptionError as error:
        raise UsageError(f"{path} is no history that can be read: {error}") from None
    return view


def departure(view: HistoryView, code: Code = None) -> Divergence | None:
    """Return why ``code`` does not repeat a history; None if it does."""
    return explain(RunId(view.run_id), begin_of(chosen(view, code)), view.events)


def begin_of(code: Workflow[..., Any] | Definition) -> Begin:
    """Return what starts a run of a workflow."""
    if isinstance(code, Definition):
        ir = code.ir

        def begin_rwf(started: Started) -> Body:
            return language.start(ir, started.input)

        return begin_rwf
    workflow = code

    def begin(started: Started) -> Body:
        return start_python(workflow, started)

    return begin


def chosen(view: HistoryView, code: Code) -> Workflow[..., Any] | Definition:
    """Return the code that a history belongs to; `UsageError` if it is another, or none is given."""
    carries_code = view.kind != "python" and bool(view.ir)
    if isinstance(code, Registry):
        found = code.workflows.get((view.name, view.version))
        if found is None and not carries_code:
            known = ", ".join(f"{name} version {number}" for name, number in code.workflows)
            raise UnknownDefinition(
                f"the application registers no workflow {view.name} version {view.version}; "
                f"it has {known or 'none'}"
            )
        code = None if carries_code else found
    if code is not None:
        if code.name != view.name:
            raise UsageError(f"run {view.run_id} is one of {view.name}, not of {code.name}")
        return code
    if not carries_code:
        raise UsageError(
            f"run {view.run_id} is one of the Python workflow {view.name} version {view.version}; "
            "give its workflow, or the registry that has it"
        )
    kept = (view.meaning_hash, "", view.source, view.ir)
    return Definition(view.name, view.version, "rwf", *kept)
