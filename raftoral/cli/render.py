"""What people see: tables and facts; the only rich. In a pipe the same text comes plain."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from raftoral.replay.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from rich.console import RenderableType
    from rich.live import Live
    from rich.progress import Progress

    from raftoral.cli.demo_cluster import NodeProcess
    from raftoral.runtime.views import RunView

T = TypeVar("T")

PATIENCE_SECONDS: Final = 0.5
"""After how long a bar tells that something goes on."""


def json(value: object) -> None:
    """Print a value as indented JSON."""
    print(json_text(value))


def json_text(value: object) -> str:
    """Return a value as indented JSON."""
    from raftoral.convert import to_json

    return to_json(value, indent=2).decode()


def moment(millis: int) -> str:
    """Return milliseconds since 1970 as a UTC time, to the second."""
    return datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns; columns that are empty in every row are left out."""
    shown = [n for n in range(len(columns)) if not rows or any(row[n] for row in rows)]
    names = [columns[n] for n in shown]
    cells = [[visible(row[n]) for n in shown] for row in rows]
    if sys.stdout.isatty():
        _rich_table(names, cells)
    else:
        _plain_table(names, cells)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[n]) for row in (columns, *rows)) for n in range(len(columns))]
    for row in (columns, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def reports(text: str) -> None:
    """Print the reports of a compiler; on a terminal what matters has a colour."""
    if not text:
        return
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.text import Text

    shown = Text(text)
    shown.highlight_regex(r"(?m)^error\[\w+\]", "bold red")
    shown.highlight_regex(r"(?m)^warning\[\w+\]", "bold yellow")
    shown.highlight_regex(r"(?m)(?<=\]): .*$", "bold")
    shown.highlight_regex(r"(?m)^ *(-->|\||=|\d+ \|)", "blue")
    shown.highlight_regex(r"(?m)(?<=\| )[ \t]*\^+.*$", "red")
    shown.highlight_regex(r"(?m)(?<=\| )[ \t]*-+(?= |$).*$", "cyan")
    shown.highlight_regex(r"(?m)(?<== )help:", "green")
    Console(soft_wrap=True, highlight=False).print(shown, end="")


def markdown(text: str) -> None:
    """Print Markdown with its code painted; only for a terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=min(Console().width, 100)).print(Markdown(text, code_theme="ansi_dark"))


def followed(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    """Yield ``items``; if they take long, a bar on the terminal's stderr tells how many there were."""
    began, bar = time.monotonic(), None
    try:
        for count, item in enumerate(items, 1):
            late = time.monotonic() - began >= PATIENCE_SECONDS
            if bar is None and late and sys.stderr.isatty():
                bar = _bar(title, total)
                bar.start()
            if bar is not None:
                bar.update(bar.task_ids[0], completed=count)
            yield item
    finally:
        if bar is not None:
            bar.stop()


def _bar(title: str, total: int | None) -> Progress:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # What is printed meanwhile goes where it would go: stdout may be a file.
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    bar.add_task(escape(title), total=total)
    return bar


def facts(lines: Sequence[tuple[str, str]]) -> None:
    """Print one fact a line; a value of several lines is indented under its name."""
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        told = visible(value, keep="\n").replace("\n", "\n" + " " * (width + 2))
        print(f"{name.ljust(width)}  {told}")


# ------------------------------------------------------------------ the demo
class DemoScreen:
    """The demo as it goes on: a live picture on a terminal, a line now and then elsewhere."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._live: Live | None = None
        self._last = time.monotonic()

    def __enter__(self) -> DemoScreen:
        """Begin the picture."""
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=10, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Print one line that stays."""
        if self._live is not None:
            self._live.console.print(f"demo: {line}", markup=False, highlight=False)
        else:
            print(f"demo: {line}", flush=True)

    def show(self, nodes: Sequence[NodeProcess], runs: Sequence[RunView]) -> None:
        """Show where the runs stand."""
        if self._live is not None:
            self._live.update(_picture(nodes, runs, self._runs))
        elif time.monotonic() - self._last >= 1:
            self._last = time.monotonic()
            ended = sum(run.ended for run in runs)
            events = sum(run.events for run in runs)
            self.say(f"{len(runs)} runs, {ended} ended, {events} events settled")

    def summary(self, lines: Sequence[tuple[str, str]]) -> None:
        """End the picture and print what was found."""
        self._close()
        table(("demo", "found"), lines)


def _picture(nodes: Sequence[NodeProcess], runs: Sequence[RunView], count: int) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    live = Counter(run.owner for run in runs if not run.ended)
    ended = Counter(run.owner for run in runs if run.ended)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("node", "process", "state", "owns", "ended there", ""):
        shown.add_column(name, justify="right" if name in ("owns", "ended there") else "left")
    for node in nodes:
        state = Text("killed", "bold red") if node.killed else Text("up", "green")
        owned = live[node.number]
        shown.add_row(
            node.name,
            str(node.pid),
            state,
            str(owned),
            str(ended[node.number]),
            ProgressBar(total=max(1, sum(live.values())), completed=owned, width=24),
        )
    done = sum(ended.values())
    events = sum(run.events for run in runs)
    line = Text(f"{done} of {count} runs ended, {len(runs)} started, {events} events settled")
    bar = Table.grid()
    bar.add_row(ProgressBar(total=count, completed=done, width=60))
    return Group(shown, bar, line)
