"""`deploy`: sends `.rwf` files to a node, which checks them and keeps their versions."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from raftoral.cli.options import DEFAULT_URL, AsJson, Url, client, refuse


def deploy(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="`.rwf` files.")],
    node: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Deploy the workflows of `.rwf` files.

    A version that is deployed already, with the same meaning, is left as it is.
    """
    sources = [(path, _text_of(path)) for path in files]
    from raftoral.cli import render
    from raftoral.errors import DefinitionRefused

    failed = False
    with client(node) as http:
        for path, source in sources:
            try:
                views = http.deploy(source, str(path))
            except DefinitionRefused as error:
                print(error, file=sys.stderr)
                failed = True
                continue
            if as_json:
                render.json(views)
                continue
            for view in views:
                state = "deployed" if view.new else "is deployed already"
                print(f"{view.name} version {view.version} {state} ({view.meaning_hash[:12]})")
    if failed:
        raise typer.Exit(1)


def _text_of(path: Path) -> str:
    if path.suffix == ".py":
        refuse(
            f"{path} is Python: such workflows are deployed by the nodes that have the code. "
            f"Start them with --app {path}:registry"
        )
    from raftoral.registry.files import BYTES_MAX, read_file

    try:
        data = read_file(path)
        if len(data) >= BYTES_MAX:
            refuse(f"{path} is larger than {BYTES_MAX // 1024:,} KiB, and no program is")
        text = data.decode("utf-8")
    except OSError as error:
        refuse(f"cannot read {path}: {error.strerror}")
    except UnicodeDecodeError as error:
        refuse(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}")
    if "import" not in text:
        return text
    from raftoral.lang.imports import gathered
    from raftoral.lang.source import Source
    from raftoral.registry.files import beside

    return gathered(Source(str(path), text), beside(path)).text
