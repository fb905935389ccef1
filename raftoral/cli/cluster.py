"""`status`, `version`: what a cluster looks like."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from raftoral.cli import nodes
from raftoral.cli.options import DEFAULT_URL, AsJson, Url, client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.runtime.views import GroupView


def status(node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the groups, their leaders and members, and the nodes."""
    with client(node) as http:
        view = http.status()
    from raftoral.cli import render

    if as_json:
        render.json(view)
        return
    render.facts(
        [
            ("cluster", view.cluster),
            ("node", f"{view.node} {view.name}".strip()),
            ("data", view.data or "memory"),
            ("definitions", str(view.definitions)),
        ]
    )
    _groups(view.groups)
    nodes.table(view.nodes)
    for warning in view.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _groups(views: Iterable[GroupView]) -> None:
    from raftoral.cli import render

    render.table(
        ("group", "leader", "term", "applied", "members", "learners", "live runs"),
        [
            (
                str(g.id),
                f"node {g.leader}" if g.leader else "none",
                str(g.term),
                f"{g.applied} of {g.commit}" if g.member else "not here",
                _numbers(g.members),
                _numbers(g.learners),
                str(g.live_runs),
            )
            for g in views
        ],
    )


def _numbers(numbers: Iterable[int]) -> str:
    return " ".join(str(number) for number in numbers)


def version() -> None:
    """Show the version."""
    from importlib.metadata import version as version_of

    print(f"raftoral {version_of('raftoral')} (Python {platform.python_version()})")
