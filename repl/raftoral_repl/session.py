"""Opens what is to be stepped through: a history, and the code that has to repeat it.

Owns the way from a file or the id of a run to a `Session`. It knows no terminal. Code comes from
the history itself (`.rwf`), from a `.rwf` file, or from the application's registry (Python), and is
never looked up by a name that a history gives.
"""

from __future__ import annotations

import inspect
import linecache
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from raftoral.errors import CorruptionError, UnknownDefinition, UsageError
from raftoral.registry.definition import python_definition
from raftoral.registry.python import start_python
from raftoral.replay.trace import Trace
from raftoral.runtime.rhx import read_rhx
from raftoral_repl.stepper import Stepper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.compile import WorkflowUnit
    from raftoral.registry.app import Registry
    from raftoral.replay.history import Started
    from raftoral.replay.interpreter import Begin, Body
    from raftoral.runtime.views import HistoryView


class CalledWrongly(UsageError):
    """The program was started with arguments that cannot work: exit code 2."""


@dataclass(frozen=True, slots=True)
class Program:
    """The code of a run: how it starts, and its text.

    ``text`` is the whole source, or None where each place is a file of its own. ``home`` and
    ``first`` are the place and line of the workflow's head. ``notes`` say what the user has to
    know before trusting what is shown.
    """

    start: Begin
    home: str
    first: int
    text: str | None = None
    notes: tuple[str, ...] = ()

    def lines(self, place: str) -> Sequence[str]:
        """Return the source lines of a place that a stop names; none if it cannot be read."""
        if self.text is not None:
            return self.text.splitlines()
        return [line.rstrip("\n") for line in linecache.getlines(place)]


@dataclass(slots=True)
class Session:
    """One history, its code, and where we stand. ``last_move`` is what an empty line repeats."""

    view: HistoryView
    program: Program
    stepper: Stepper
    last_move: str = field(default="step")

    @property
    def prompt(self) -> str:
        """The words before each command."""
        name = self.view.run_id
        short = name if len(name) <= 20 else f"{name[:8]}.."
        return f"{short}:{self.stepper.here.position}> "

    def statement(self) -> tuple[str, int]:
        """Return the place and line to show: the statement here, or the head of the workflow."""
        here = self.stepper.here
        return (here.place, here.line) if here.line else (self.program.home, self.program.first)

    def close(self) -> None:
        """Drop the parked code."""
        self.stepper.trace.close()


def open_session(view: HistoryView, program: Program) -> Session:
    """Return a session that stands after the first event of ``view``."""
    trace = Trace(program.start, view.events, run_id=view.run_id)
    return Session(view, program, Stepper(trace))


# ------------------------------------------------------------------ the history
def load(target: str, history: str | None, node: str) -> tuple[HistoryView, str | None]:
    """Return the history that ``target`` names, and the path of a `.rwf` file to replay it on.

    ``target`` is a `.rhx` file, a `.rwf` file (``history`` is then the export) or the id of a run
    on the node at ``node``.
    """
    path = Path(target)
    if path.suffix == ".rwf":
        _existing(path)
        if history is None:
            raise CalledWrongly(_needs_history(target))
        return _history_of(history, node), target
    if history is not None:
        raise CalledWrongly(f"--history belongs to a .rwf file, not to {target}")
    return _history_of(target, node), None


def _history_of(target: str, node: str) -> HistoryView:
    path = Path(target)
    if path.suffix != ".rhx" and not path.is_file():
        return _fetched(target, node)
    _existing(path)
    try:
        return read_rhx(path.read_bytes())
    except OSError as error:
        raise CalledWrongly(f"cannot read {path}: {error.strerror}") from None
    except CorruptionError as error:
        raise CorruptionError(f"{path} is no history that can be read: {error}") from None


def _fetched(run: str, node: str) -> HistoryView:
    from raftoral.client.http import Client

    try:
        client = Client(node)
    except UsageError as error:
        raise CalledWrongly(str(error)) from None
    with client:
        return client.history(run)


def _existing(path: Path) -> None:
    if not path.is_file():
        raise CalledWrongly(f"there is no file {path}")


def _needs_history(path: str) -> str:
    return (
        f"{path} is the text of workflows; the debugger steps through what one run recorded.\n"
        "  a run on a node:    raftoral repl RUN\n"
        "  an exported run:    raftoral history RUN --export run.rhx\n"
        "                      raftoral repl run.rhx\n"
        f"  it, on this text:   raftoral repl {path} --history run.rhx"
    )


# ------------------------------------------------------------------ the code
def program_of(view: HistoryView, text: str | None, registry: Registry | None) -> Program:
    """Return the code that has to repeat ``view``: the `.rwf` file ``text`` where it is given."""
    if text is not None:
        return _program_of_file(view, text)
    if view.kind == "python" or not view.ir:
        return _python_program(view, registry)
    return _rwf_program(view.ir, view.source, ())


def _python_program(view: HistoryView, registry: Registry | None) -> Program:
    label = f"{view.name} version {view.version}"
    if registry is None:
        raise CalledWrongly(
            f"run {view.run_id} is one of the Python workflow {label}; give the application that "
            "has its code: --app FILE.py:registry"
        )
    workflow = registry.workflows.get((view.name, view.version))
    if workflow is None:
        known = ", ".join(f"{name} version {number}" for name, number in registry.workflows)
        raise UnknownDefinition(
            f"the application registers no workflow {label}; it has {known or 'none'}"
        )

    def start(started: Started) -> Body:
        return start_python(workflow, started)

    notes = []
    if python_definition(workflow).meaning_hash != view.meaning_hash:
        notes.append(f"the application's code of {label} is not the code that was deployed")
    code = workflow.function.__code__
    home = inspect.getsourcefile(workflow.function) or code.co_filename
    return Program(start, home, code.co_firstlineno, None, tuple(notes))


def _program_of_file(view: HistoryView, path: str) -> Program:
    from raftoral.lang.compile import compile_source
    from raftoral.lang.render import render_all
    from raftoral.lang.source import Source
    from raftoral.registry.files import beside

    try:
        source = Source.from_bytes(path, Path(path).read_bytes())
    except OSError as error:
        raise CalledWrongly(f"cannot read {path}: {error.strerror}") from None
    compiled = compile_source(source, beside(Path(path)))
    if compiled.has_errors:
        report = render_all(compiled.diagnostics, compiled.source).rstrip()
        raise UsageError(f"{path} does not compile\n{report}")
    unit = _unit(compiled.units, view, path)
    notes = []
    if unit.meaning_hash != view.meaning_hash:
        notes.append(
            f"{path} has other code than the run was recorded with "
            f"({view.name} version {view.version})"
        )
    return _rwf_program(unit.ir, unit.source, tuple(notes))


def _unit(units: Sequence[WorkflowUnit], view: HistoryView, path: str) -> WorkflowUnit:
    """Return the workflow of that name; of several versions the recorded one, else the newest."""
    named = sorted((unit for unit in units if unit.name == view.name), key=lambda u: u.version)
    if not named:
        known = ", ".join(unit.name for unit in units) or "none"
        raise UsageError(
            f"run {view.run_id} is one of {view.name}, and {path} has no such workflow: {known}"
        )
    return next((unit for unit in named if unit.version == view.version), named[-1])


def _rwf_program(ir: bytes, text: str, notes: tuple[str, ...]) -> Program:
    from raftoral.lang import compile as language

    def start(started: Started) -> Body:
        return language.start(ir, started.input)

    # Damaged code is told here; a run would only fail with it.
    name = language.interface(ir).name
    head = f"workflow {name}"
    lines = text.splitlines()
    first = next((n for n, line in enumerate(lines, 1) if line.startswith(head)), 1)
    return Program(start, name, first, text, notes)
