"""Reading a source: parse it and check it, with everything there is to say about it.

The half of `compile` that tools need: it knows neither how runs are evaluated nor what is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.lang.check.file import check
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.parse import parse

if TYPE_CHECKING:
    from raftoral.lang.ir import Unit
    from raftoral.lang.source import Source


def read(source: Source) -> tuple[tuple[Unit, ...], Diagnostics]:
    """Return the units of a clean source, none if anything must be mended, and the reports."""
    diagnostics = Diagnostics()
    file = parse(source, diagnostics)
    units = check(file, source, diagnostics) if file is not None else ()
    return units, diagnostics
