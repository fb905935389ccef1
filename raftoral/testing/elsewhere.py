"""A process that replays histories on code which it finds by name; see `raftoral.testing.again`."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raftoral.errors import UsageError
from raftoral.replay.divergence import render
from raftoral.replay.effects import Workflow
from raftoral.testing.histories import departure, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.testing.histories import Code

DIFFERS: Final = 3
"""The exit code of a process whose code left a history."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where another process finds the code: a registry by its name, or a workflow in its module.

    All empty: the `.rwf` code that a history carries itself.
    """

    app: str = ""
    module: str = ""
    file: str = ""
    name: str = ""
    version: int = 0


def main(argv: Sequence[str]) -> int:
    """Replay the histories of a command line: the `Where` as JSON, then the paths of the files."""
    code = _code(Where(**json.loads(argv[0])))
    differs = False
    for path in argv[1:]:
        found = departure(load(path), code)
        if found is not None:
            differs = True
            told = "\n".join(render(found))
            print(f"the history {Path(path).stem} does not fit the code\n{told}\n")  # noqa: T201
    return DIFFERS if differs else 0


def _code(where: Where) -> Code:
    from raftoral.registry.apps import load_app, load_file

    if where.app:
        return load_app(where.app)
    if not where.module:
        return None
    try:
        module = importlib.import_module(where.module)
    except ModuleNotFoundError:
        module = load_file(Path(where.file))
    for one in vars(module).values():
        if isinstance(one, Workflow) and (one.name, one.version) == (where.name, where.version):
            return one
    raise UsageError(
        f"{where.file} has no workflow {where.name} version {where.version} at its top"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
