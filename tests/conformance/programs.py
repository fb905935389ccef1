"""The requirements as `.rwf` files, one a suite; each has the activities of its Python case.

Children are `.rwf` as well. `PROGRAMS` has all of them by id, `rwf/*.rwf` their text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raftoral.lang.compile import Source, compile_source
from raftoral.lang.render import render_all
from raftoral.registry.definition import rwf_definition
from tests.conformance.cases import CASES, NOT_EXPRESSIBLE, Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.registry.definition import Definition

FILES: Final = sorted((Path(__file__).parent / "rwf").glob("*.rwf"))

_NAME: Final = re.compile(r"requirement_(\d+)_(\d+)\Z")

UNWRITTEN: Final[dict[str, str]] = {**NOT_EXPRESSIBLE}
"""Why there is no program; what no Python workflow can do no program can."""


def _programs() -> dict[str, Callable[[], Case]]:
    """Return the cases of all files; `ValueError` with the reports for a file that has any."""
    found: dict[str, Callable[[], Case]] = {}
    for path in FILES:
        compiled = compile_source(Source.from_bytes(path.name, path.read_bytes()))
        if compiled.diagnostics:
            raise ValueError(render_all(compiled.diagnostics, compiled.source))
        made = [rwf_definition(unit) for unit in compiled.units]
        children = tuple(one for one in made if not _NAME.match(one.name))
        for one in made:
            if is_one := _NAME.match(one.name):
                found["-".join(is_one.groups())] = _case("-".join(is_one.groups()), one, children)
    return found


def _case(
    number: str, definition: Definition, children: tuple[Definition, ...]
) -> Callable[[], Case]:
    return lambda: replace(CASES[number](), flow=definition, children=children)


PROGRAMS: Final = _programs()
