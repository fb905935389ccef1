"""`nodes`: which nodes the cluster has, and how one of them leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from raftoral.cli.options import DEFAULT_URL, AsJson, Url, client, fail, leaves_to_subcommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raftoral.client.http import Client
    from raftoral.runtime.views import NodeView

LOOK_EVERY_S: Final = 0.2

app = typer.Typer(help="List the nodes of the cluster, or take one out of it.")

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return at once; `raftoral nodes` shows how far it is.")
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait at most so long."),
]


@app.callback(invoke_without_command=True)
def nodes(context: typer.Context, node: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the nodes of the cluster, or take one out of it."""
    if leaves_to_subcommand(context):
        return
    with client(node) as http:
        views = http.nodes()
    if as_json:
        from raftoral.cli import render

        render.json(views)
        return
    table(views)


@app.command()
def remove(
    which: Annotated[str, typer.Argument(metavar="NODE", help="Its number or name.")],
    no_wait: NoWait = False,
    timeout: Timeout = None,
    node: Url = DEFAULT_URL,
) -> None:
    """Take a node out of the cluster for good, dead or alive.

    Its runs go on elsewhere, and a node that has no place in its groups takes its places. Any node
    can be asked. The same again is fine.
    """
    with client(node) as http:
        views = http.nodes()
        leaver = next((each for each in views if which in (str(each.id), each.name)), None)
        http.remove_node(which)
        if leaver is None:
            print(f"node {which} has left the cluster")
            return
        _see_off(node, http, views, leaver, no_wait=no_wait, timeout=timeout)


@app.command()
def leave(no_wait: NoWait = False, timeout: Timeout = None, node: Url = DEFAULT_URL) -> None:
    """Take the node that is asked out of the cluster.

    For good: it ends the attempts that it makes, hands its runs over, removes its data and stops.
    """
    with client(node) as http:
        views = http.nodes()
        leaver = next(each for each in views if each.this)
        http.remove_node(leaver.id)
        _see_off(node, http, views, leaver, no_wait=no_wait, timeout=timeout)


def _see_off(
    url: str,
    http: Client,
    views: Sequence[NodeView],
    leaver: NodeView,
    *,
    no_wait: bool,
    timeout: float | None,
) -> None:
    """Wait until a node has left, and say what it still has to do meanwhile."""
    called = f"node {leaver.id} ({leaver.name})"
    if no_wait:
        print(f"{called} leaves the cluster; `raftoral nodes` shows how far it is")
        return
    if leaver.this:
        # It will not be there to say that it has gone.
        others = [each.http for each in views if each.alive and not each.this and each.http]
        if not others:
            print(f"{called} leaves the cluster; no other node is known that could say when")
            return
        with client(f"http://{others[0]}") as other:
            _wait(url, other, leaver, timeout)
    else:
        _wait(url, http, leaver, timeout)
    print(f"{called} has left the cluster")


def _wait(url: str, http: Client, leaver: NodeView, timeout: float | None) -> None:
    end = None if timeout is None else time.monotonic() + timeout
    told = ""
    while True:
        view = next((each for each in http.nodes() if each.id == leaver.id), None)
        if view is None:
            return
        left = f"owns {view.owned_runs} runs, is in groups {_numbers(view.groups) or 'no more'}"
        if left != told:
            told = left
            print(f"node {view.id} leaves: it {left}", flush=True)
        if end is not None and time.monotonic() > end:
            fail(
                f"node {view.id} has not left within {timeout:g} s and goes on leaving; "
                f"`raftoral nodes --node {url}` shows how far it is"
            )
        time.sleep(LOOK_EVERY_S)


def table(views: Iterable[NodeView]) -> None:
    """Print one line a node."""
    from raftoral.cli import render

    render.table(
        ("node", "name", "peers", "http", "state", "role", "groups", "owned runs", "clock off"),
        [
            (
                f"{v.id}{' (this)' if v.this else ''}",
                v.name,
                v.address,
                v.http,
                _state(v),
                v.role,
                _numbers(v.groups),
                str(v.owned_runs),
                f"{v.clock_offset_ms} ms",
            )
            for v in views
        ],
    )


def _state(view: NodeView) -> str:
    state = "up" if view.alive else "not heard"
    return f"{state}, leaving" if view.leaving else state


def _numbers(numbers: Iterable[int]) -> str:
    return " ".join(str(number) for number in numbers)
