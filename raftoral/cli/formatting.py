"""`fmt`: gives `.rwf` files their canonical layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftoral.cli.sources import STDIN, Paths, rewrite, sources

if TYPE_CHECKING:
    from raftoral.lang.source import Source


def fmt(
    paths: Paths,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if anything would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; print what would change.")
    ] = False,
) -> None:
    """Give `.rwf` files their canonical layout.

    There are no options of style. Files are rewritten in place, standard input is answered on
    standard output. Exit code 0: done; 1: a text does not parse (its file is left alone), or
    --check found something to change.
    """
    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.format import format_source
    from raftoral.lang.render import render_all

    broken = 0
    changed: list[str] = []
    found = sources(paths)
    for source in found:
        diagnostics = Diagnostics()
        clean = source.clean()
        text = format_source(clean, diagnostics)
        if text is None:
            print(render_all(diagnostics.all(), clean), file=sys.stderr, end="")
            broken += 1
            continue
        if text != source.text:
            changed.append(source.path)
        if diff:
            _print_diff(source, text)
        elif source.path == "<stdin>":
            if not check:
                print(text, end="")
        elif text != source.text:
            if check:
                print(f"would change {source.path}")
            else:
                rewrite(Path(source.path), text)
                print(f"formatted {source.path}")
    if paths != [STDIN]:
        print(_summary(len(found), len(changed), broken, dry=check or diff), file=sys.stderr)
    if broken or (check and changed):
        raise typer.Exit(1)


def _summary(count: int, changed: int, broken: int, *, dry: bool) -> str:
    verb = "would be changed" if dry else "changed"
    words = [f"{changed} {verb}", f"{count - changed - broken} left as they are"]
    if broken:
        words.append(f"{broken} with mistakes")
    return f"{count} file{'s' if count != 1 else ''}: {', '.join(words)}"


def _print_diff(source: Source, text: str) -> None:
    import difflib

    lines = difflib.unified_diff(
        source.text.splitlines(keepends=True),
        text.splitlines(keepends=True),
        source.path,
        f"{source.path} (formatted)",
    )
    for line in lines:
        print(line if line.endswith("\n") else f"{line}\n\\ no newline at the end\n", end="")
