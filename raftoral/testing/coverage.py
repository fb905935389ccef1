"""Which statements of `.rwf` workflows were ever reached in the runs of tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raftoral.lang.evaluate.program import Program, load
from raftoral.lang.evaluate.run import begin
from raftoral.lang.read import read
from raftoral.registry.files import beside

if TYPE_CHECKING:
    from raftoral.lang.compile import Compiled
    from raftoral.registry.definition import Definition
    from raftoral.replay.advancing import Begin, Body
    from raftoral.replay.history import Started


@dataclass(frozen=True, slots=True)
class Covered:
    """How many statements one workflow has, how many were reached, the lines of those that were not."""

    name: str
    version: int
    statements: int
    reached: int
    missed: tuple[int, ...]


class Coverage:
    """Notes what is reached in runs of the workflows of a file; bodies of functions do not count."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._reached: dict[bytes, set[int]] = {unit.ir: set() for unit in compiled.units}
        self._programs = {
            ir: Program(load(ir).unit, seen.add) for ir, seen in self._reached.items()
        }

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
        units = read(source, beside(Path(source.path))).units
        given = {(unit.name, unit.version): unit.spans for unit in units}
        found = []
        for ir, seen in self._reached.items():
            unit = load(ir).unit
            lines = given.get((unit.name, unit.version), unit.spans)[::2]
            missed = sorted({line for at, line in enumerate(lines) if at not in seen})
            found.append(Covered(unit.name, unit.version, len(lines), len(seen), tuple(missed)))
        return found
