"""Which statements of `.rwf` workflows the runs of tests ever reach, and which ways they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.lang import ast
from raftoral.lang.branches import statements, ways
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.evaluate.notes import Notes
from raftoral.lang.evaluate.program import Program, load
from raftoral.lang.evaluate.run import begin
from raftoral.lang.parse import parse

if TYPE_CHECKING:
    from raftoral.lang.compile import Compiled
    from raftoral.lang.ir import Unit
    from raftoral.lang.source import Source
    from raftoral.registry.definition import Definition
    from raftoral.replay.advancing import Begin, Body
    from raftoral.replay.history import Started


@dataclass(frozen=True, slots=True)
class Covered:
    """What was reached of one workflow: of its statements and of its branches.

    A branch is a way that a run can go at a statement: each block of an `if` or `match`, the turns
    of a loop and none, each `catch`, each branch of a `parallel`, each arm of a `race`. ``missed``
    has the lines of the statements that were not reached, ``skipped`` the line and the word of each
    branch that was not taken.
    """

    name: str
    version: int
    statements: int
    reached: int
    missed: tuple[int, ...]
    branches: int
    taken: int
    skipped: tuple[tuple[int, str], ...]


class Coverage:
    """Notes what is reached in runs of the workflows of a file; bodies of functions do not count."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self.notes = {unit.ir: Notes() for unit in compiled.units}
        self._programs = {ir: Program(load(ir).unit, notes) for ir, notes in self.notes.items()}

    def knows(self, definition: Definition) -> bool:
        """Tell whether a definition is one of the file's workflows."""
        return definition.ir in self._programs

    def begin(self, definition: Definition) -> Begin:
        """Return the function that starts a run of a workflow of the file, noted as it goes."""
        program = self._programs[definition.ir]

        def start(started: Started) -> Body:
            return begin(program, started.input, started)

        return start

    def covered(self) -> list[Covered]:
        """Return what was reached so far, by workflow; lines are those of the text that was given."""
        source = self._compiled.source
        # What is stored counts the lines of its canonical text, a bundle's too, which is that text.
        tree = parse(source, Diagnostics())
        assert tree is not None, "it was compiled"
        bodies = {
            (one.name.text, one.version): statements(one.block)
            for one in tree.items
            if isinstance(one, ast.WorkflowDef) and one.block is not None
        }
        found = []
        for ir, notes in self.notes.items():
            unit = load(ir).unit
            found.append(_covered(unit, bodies[unit.name, unit.version], notes, source))
        return found


def _covered(unit: Unit, body: list[ast.Stmt], notes: Notes, source: Source) -> Covered:
    missed: set[int] = set()
    skipped: list[tuple[int, str]] = []
    branches = 0
    for number, statement in enumerate(body):
        if number not in notes.reached:
            missed.add(source.place(statement.span.start)[0])
        for way, (word, start) in enumerate(ways(statement)):
            branches += 1
            if (number, way) not in notes.taken:
                skipped.append((source.place(start)[0], word))
    return Covered(
        unit.name,
        unit.version,
        len(body),
        len(notes.reached),
        tuple(sorted(missed)),
        branches,
        len(notes.taken),
        tuple(sorted(skipped)),
    )
