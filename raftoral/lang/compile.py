"""The door of the language: source to stored units, and stored units to runs.

`compile_source` runs all stages and never raises for a mistake of the user. Everything else works
from the stored IR alone, without the source and without lark.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from raftoral.lang import boundary
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.evaluate.program import load
from raftoral.lang.evaluate.run import Evaluation, start
from raftoral.lang.format import format_source
from raftoral.lang.read import read
from raftoral.lang.source import Source

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Diagnostic
    from raftoral.lang.ir import Unit
    from raftoral.values import Value

__all__ = [
    "Compiled",
    "Evaluation",
    "Source",
    "WorkflowUnit",
    "activities",
    "compile_source",
    "decode_input",
    "decode_result",
    "decode_signal",
    "input_names",
    "interface",
    "start",
]


@dataclass(frozen=True, slots=True)
class WorkflowUnit:
    """One compiled workflow: what the registry stores, and what a node must know to run it.

    ``source`` is the canonical text of the whole file (`format`), ``text_hash`` its sha256,
    ``meaning_hash`` that of the IR without lines, docs and the names of local variables.
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
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a source became: its units, and everything there is to say about it.

    ``source`` is the text that the spans of the diagnostics count in. No unit is there while any
    diagnostic is an error.
    """

    source: Source
    units: tuple[WorkflowUnit, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def has_errors(self) -> bool:
        """Tell whether anything must be mended first."""
        return any(one.severity == "error" for one in self.diagnostics)


def compile_source(source: Source) -> Compiled:
    """Return the units and diagnostics of a source; equal texts give equal bytes everywhere.

    What is stored is compiled from the canonical text, so that lines mean the lines of that; what
    there is to say speaks of the text that was given.
    """
    given = source.clean()
    units, diagnostics = read(given)
    if not units:
        return Compiled(given, (), diagnostics.all())
    text = format_source(given, Diagnostics())
    assert text is not None, "what parses has a layout"
    stored = units
    if text != given.text:
        stored, again = read(Source(given.path, text))
        if not stored:  # the layout made it larger than a source may be
            return Compiled(given, (), again.all())
        hashes = [[one.meaning_hash() for one in all_] for all_ in (units, stored)]
        assert hashes[0] == hashes[1], "the layout changed the meaning"
    text_hash = sha256(text.encode("utf-8", "replace")).hexdigest()
    made = tuple(_stored(unit, text, text_hash) for unit in stored)
    return Compiled(given, made, diagnostics.all())


def _stored(unit: Unit, text: str, text_hash: str) -> WorkflowUnit:
    return WorkflowUnit(
        name=unit.name,
        version=unit.version,
        source=text,
        ir=unit.encode(),
        text_hash=text_hash,
        meaning_hash=unit.meaning_hash(),
        inputs=_typed(unit),
        activities=tuple(one[0] for one in unit.activities),
        signals=tuple(one[0] for one in unit.signals),
        doc=unit.doc,
    )


def _typed(unit: Unit) -> tuple[tuple[str, str], ...]:
    return tuple((name, boundary.show(kind)) for name, kind, _ in unit.inputs)


# ------------------------------------------------------------------ from the stored IR alone
def activities(ir: bytes) -> tuple[str, ...]:
    """Return the names of the activities that a node needs to own runs of the program."""
    return tuple(one[0] for one in load(ir).unit.activities)


def input_names(ir: bytes) -> tuple[str, ...]:
    """Return the names of the inputs, in their order."""
    return tuple(one[0] for one in load(ir).unit.inputs)


def interface(ir: bytes) -> WorkflowUnit:
    """Return what the program says about itself; ``source`` and ``text_hash`` are empty."""
    unit = load(ir).unit
    return WorkflowUnit(
        name=unit.name,
        version=unit.version,
        source="",
        ir=ir,
        text_hash="",
        meaning_hash=unit.meaning_hash(),
        inputs=_typed(unit),
        activities=tuple(one[0] for one in unit.activities),
        signals=tuple(one[0] for one in unit.signals),
        doc=unit.doc,
    )


def decode_input(ir: bytes, given: object) -> dict[str, Value]:
    """Return the stored input of a run; see `boundary.decode_input`."""
    return boundary.decode_input(load(ir).unit, given)


def decode_signal(ir: bytes, name: str, given: object) -> dict[str, Value]:
    """Return the stored payload of a signal; see `boundary.decode_signal`."""
    return boundary.decode_signal(load(ir).unit, name, given)


def decode_result(ir: bytes, activity: str, given: object) -> Value:
    """Return an activity's result as it is stored; see `boundary.decode_result`."""
    return boundary.decode_result(load(ir).unit, activity, given)
