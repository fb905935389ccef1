"""Reading a source: parse it and check it, with everything there is to say about it.

The half of `compile` that tools need: it knows neither how runs are evaluated nor what is stored.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from raftoral.lang.check.program import Program
from raftoral.lang.diagnostics import Diagnostics, Enough
from raftoral.lang.node import node
from raftoral.lang.parse import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from raftoral.lang import ast
    from raftoral.lang.check.trials import Trial
    from raftoral.lang.ir import Unit
    from raftoral.lang.source import Source, Span


@node
class Read:
    """What a source says: its units (none if anything must be mended), tests, and the reports.

    ``sources`` are the files that it imports, by their path from its own folder, ``types`` those of
    the values of its workflows, by where their names are declared. ``file`` is None if the text
    does not parse.
    """

    units: tuple[Unit, ...]
    trials: tuple[Trial, ...]
    sources: Mapping[str, Source]
    diagnostics: Diagnostics
    file: ast.File | None
    types: Mapping[Span, str]


def read(source: Source, load: Callable[[str], Source | None] | None = None) -> Read:
    """Return what a clean source says; ``load`` gives the files that it imports, by their path."""
    diagnostics = Diagnostics()
    program = Program(load or _nothing)
    file = None
    with suppress(Enough):
        file = parse(source, diagnostics)
        if file is not None:
            program.check(file, source, diagnostics)
    return Read(program.units, program.trials, program.sources, diagnostics, file, program.types)


def _nothing(path: str) -> None:
    return None
