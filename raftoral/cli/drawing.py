"""`graph`: draws a workflow."""

from __future__ import annotations

from enum import Enum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from raftoral.cli.options import fail, refuse
from raftoral.cli.sources import sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang import ast
    from raftoral.lang.source import Source


class Form(Enum):
    """What is written."""

    MERMAID = "mermaid"
    SVG = "svg"


def graph(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A `.rwf` file, or - for stdin.")],
    form: Annotated[
        Form, typer.Option("--format", help="Text for pages that paint it, or a picture.")
    ] = Form.MERMAID,
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="NAME", help="Which one, of several.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ] = None,
) -> None:
    """Draw a workflow as Mermaid text or as an SVG picture.

    The file must parse; it need not pass every check.
    """
    found = sources([file])
    if len(found) != 1:
        refuse(f"{file} holds {len(found)} files; name one of them")
    source = found[0].clean()
    chosen = _chosen(_workflows(source), workflow, file)
    from raftoral.errors import UsageError

    try:
        text = _drawn(chosen, source, form)
    except UsageError as error:
        fail(str(error))
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")


def _workflows(source: Source) -> list[ast.WorkflowDef]:
    """Return the workflows that a source has the steps of; its mistakes end the command."""
    import sys

    from raftoral.lang import ast
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.parse import parse
    from raftoral.lang.render import render_all

    diagnostics = Diagnostics()
    tree = parse(source, diagnostics)
    if tree is None:
        print(render_all(diagnostics.all(), source), file=sys.stderr, end="")
        raise typer.Exit(1)
    return [one for one in tree.items if isinstance(one, ast.WorkflowDef) and one.block]


def _chosen(found: Sequence[ast.WorkflowDef], name: str | None, file: str) -> ast.WorkflowDef:
    if name is not None:
        named = [one for one in found if one.name.text == name]
        if not named:
            known = ", ".join(one.name.text for one in found) or "none"
            refuse(f"there is no workflow {name} in {file}; it has {known}")
        return max(named, key=lambda one: one.version or 0)
    if not found:
        refuse(f"there is no workflow in {file}")
    if len(found) > 1:
        names = ", ".join(dict.fromkeys(one.name.text for one in found))
        refuse(f"{file} has several workflows; choose one by --workflow: {names}")
    return found[0]


def _drawn(workflow: ast.WorkflowDef, source: Source, form: Form) -> str:
    if form is Form.MERMAID:
        from raftoral.lang.graph.mermaid import mermaid

        return mermaid(workflow, source)
    from raftoral.lang.graph.svg import svg

    return svg(workflow, source)
