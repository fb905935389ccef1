"""`explain`: what a code means, with a wrong example and the right one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from raftoral.cli.options import refuse

if TYPE_CHECKING:
    from raftoral.lint.codes import Explanation


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="Such as RWF0201 or RPY03.")
    ] = None,
) -> None:
    """Explain a code of the compiler or of the lint.

    Without one, list them all.
    """
    from raftoral.lang.pages import pages
    from raftoral.lint.codes import explanations

    rwf, python = pages(), explanations()
    if code is None:
        titles = {page.code: page.title for page in rwf.values()}
        titles |= {page.code: page.title for page in python.values()}
        for known, title in titles.items():
            print(f"{known:<8}  {title}")
        return
    wanted = code.upper()
    if wanted in rwf:
        _show(rwf[wanted].text)
    elif wanted in python:
        _show(_markdown(python[wanted]))
    else:
        from raftoral.lang.diagnostics import did_you_mean

        hint = did_you_mean(wanted, [*rwf, *python], "`raftoral explain` lists them")
        refuse(f"there is no code {code}; {hint}")


def _markdown(one: Explanation) -> str:
    wrong, right = (f"```python\n{text}\n```" for text in (one.wrong, one.right))
    return f"# {one.code}: {one.title}\n\n{one.why}\n\n## Wrong\n\n{wrong}\n\n## Right\n\n{right}\n"


def _show(text: str) -> None:
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from raftoral.cli import render

    render.markdown(text)
