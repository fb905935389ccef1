"""The door of the language: source to stored units, and stored units to runs.

`compile_source` runs all stages and never raises for a mistake of the user. Everything else works
from the stored IR alone, without the source and without lark.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from raftoral.lang import boundary, imports
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.evaluate.program import load
from raftoral.lang.evaluate.run import Evaluation, queries_of, start
from raftoral.lang.format import format_source
from raftoral.lang.read import read
from raftoral.lang.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from raftoral.lang.check.trials import Trial
    from raftoral.lang.diagnostics import Diagnostic
    from raftoral.lang.ir import Node, Unit
    from raftoral.values import Value

__all__ = [
    "Compiled",
    "Evaluation",
    "Load",
    "Source",
    "WorkflowUnit",
    "activities",
    "children",
    "compile_source",
    "decode_input",
    "decode_result",
    "decode_signal",
    "decode_update",
    "input_names",
    "interface",
    "queries",
    "start",
]

Load: TypeAlias = "Callable[[str], Source | None]"
"""Gives an imported file by its path, seen from the folder of the first file; None if there is none."""


@dataclass(frozen=True, slots=True)
class WorkflowUnit:
    """One compiled workflow: what the registry stores, and what a node must know to run it.

    ``source`` is the canonical text (`format`) of the file and of all that it imports (`imports`).
    ``text_hash`` is the sha256 of it, ``meaning_hash`` that of the IR without lines, docs and the
    names of local variables. ``search`` names the checkpoints whose values runs are listed by;
    ``children`` are the workflows and versions that it starts.
    """

    name: str
    version: int
    source: str
    ir: bytes
    text_hash: str
    meaning_hash: str
    inputs: tuple[tuple[str, str], ...]
    activities: tuple[str, ...]
    signals: tuple[str, ...]
    updates: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    children: tuple[tuple[str, int], ...] = ()
    output: str = "none"
    raises: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a source became: its units and tests, and everything there is to say about it.

    ``source`` is the text that the spans of the diagnostics count in. No unit is there while any
    diagnostic is an error.
    """

    source: Source
    units: tuple[WorkflowUnit, ...]
    diagnostics: tuple[Diagnostic, ...]
    trials: tuple[Trial, ...] = ()

    @property
    def has_errors(self) -> bool:
        """Tell whether anything must be mended first."""
        return any(one.severity == "error" for one in self.diagnostics)


def compile_source(source: Source, load: Load | None = None) -> Compiled:
    """Return the units and diagnostics of a source; equal texts give equal bytes everywhere.

    ``load`` reads the files that it imports; those that follow in the text itself come first. What
    is stored is compiled from the canonical text, so that lines mean the lines of that; what there
    is to say speaks of the text that was given.
    """
    given, files = imports.split(source.clean())
    given = given.clean()

    def find(path: str) -> Source | None:
        return files.get(path) or (None if load is None else load(path))

    found = read(given, find)
    if not found.units:
        return Compiled(given, (), found.diagnostics.all(), found.trials)
    text = _formatted(given)
    stored = found.units
    if text != given.text:
        again = read(Source(given.path, text), find)
        stored = again.units
        if not stored:  # the layout made it larger than a source may be
            return Compiled(given, (), again.diagnostics.all())
        hashes = [[one.meaning_hash() for one in all_] for all_ in (found.units, stored)]
        assert hashes[0] == hashes[1], "the layout changed the meaning"
    others = {path: Source(path, _formatted(one)) for path, one in found.sources.items()}
    text = imports.bundled(Source(given.path, text), others)
    text_hash = sha256(text.encode("utf-8", "replace")).hexdigest()
    made = tuple(_described(unit, unit.encode(), text, text_hash) for unit in stored)
    return Compiled(given, made, found.diagnostics.all(), found.trials)


def _formatted(source: Source) -> str:
    text = format_source(source, Diagnostics())
    assert text is not None, "what parses has a layout"
    return text


def _described(unit: Unit, ir: bytes, text: str, text_hash: str) -> WorkflowUnit:
    return WorkflowUnit(
        name=unit.name,
        version=unit.version,
        source=text,
        ir=ir,
        text_hash=text_hash,
        meaning_hash=unit.meaning_hash(),
        inputs=tuple((name, boundary.show(kind)) for name, kind, _ in unit.inputs),
        activities=_names(unit.activities),
        signals=_names(unit.signals),
        updates=_names(unit.updates),
        queries=_names(unit.queries),
        search=tuple(unit.search),
        children=tuple((name, version) for name, version, _, _ in unit.children),
        output=boundary.show(unit.output),
        raises=tuple(unit.raises),
        doc=unit.doc,
    )


def _names(shapes: Node) -> tuple[str, ...]:
    return tuple(one[0] for one in shapes)


# ------------------------------------------------------------------ from the stored IR alone
def activities(ir: bytes) -> tuple[str, ...]:
    """Return the names of the activities that a node needs to own runs of the program."""
    return _names(load(ir).unit.activities)


def children(ir: bytes) -> tuple[tuple[str, int], ...]:
    """Return the workflows, with their versions, that the program starts."""
    return tuple((name, version) for name, version, _, _ in load(ir).unit.children)


def input_names(ir: bytes) -> tuple[str, ...]:
    """Return the names of the inputs, in their order."""
    return _names(load(ir).unit.inputs)


def interface(ir: bytes) -> WorkflowUnit:
    """Return what the program says about itself; ``source`` and ``text_hash`` are empty."""
    return _described(load(ir).unit, ir, "", "")


def queries(ir: bytes) -> dict[str, Callable[[Mapping[str, Value]], Value]]:
    """Return the queries: pure functions of a run's committed cells, by path."""
    return queries_of(ir)


def decode_input(ir: bytes, given: object) -> dict[str, Value]:
    """Return the stored input of a run; see `boundary.decode_input`."""
    return boundary.decode_input(load(ir).unit, given)


def decode_signal(ir: bytes, name: str, given: object) -> dict[str, Value]:
    """Return the stored payload of a signal; see `boundary.decode_signal`."""
    return boundary.decode_signal(load(ir).unit, name, given)


def decode_update(ir: bytes, name: str, given: object) -> dict[str, Value]:
    """Return the stored payload of an update; see `boundary.decode_update`."""
    return boundary.decode_update(load(ir).unit, name, given)


def decode_result(ir: bytes, activity: str, given: object) -> Value:
    """Return an activity's result as it is stored; see `boundary.decode_result`."""
    return boundary.decode_result(load(ir).unit, activity, given)
