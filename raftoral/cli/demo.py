"""`raftoral demo`: three processes, sixty runs, the owner of most of them killed, all of it verified.

Owns the order of events. What it prints was measured in this very run; if anything that it checks
does not hold it says what, and exits with 1. Leaves no process and no folder behind.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from raftoral._assets import asset
from raftoral.cli import demo_orders
from raftoral.cli.demo_checks import Evidence, Verdict, verify
from raftoral.cli.demo_cluster import DemoFailed, NodeProcess, processes
from raftoral.cli.demo_watch import FAST_SECONDS, SLOW_SECONDS, Takeover, Watch
from raftoral.cli.render import DemoScreen
from raftoral.client.http import Client
from raftoral.errors import RaftoralError, Unavailable, UnknownRun
from raftoral.replay.history import Ended, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from types import FrameType

    from raftoral.runtime.views import HistoryView, RunView

LIVE_SHARE: Final = 4
"""One in so many runs goes on at any time: the next starts when one has ended. So whatever the
speed of the machine, many runs are at different steps when their owner dies."""

PATIENCE_SECONDS: Final = 60.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
TICK_SECONDS: Final = 0.02


def run_demo(runs: int, *, keep: bool = False) -> int:
    """Run the demo; return 0 if everything that it checks holds, else 1."""
    folder = Path(tempfile.mkdtemp(prefix="raftoral-demo-"))
    previous = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        return _Demo(runs, folder).run()
    except RaftoralError as error:
        print(f"demo: {error}")
        return 1
    except KeyboardInterrupt:
        print("demo: stopped")
        return 130
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if keep:
            print(f"demo: the folder of the cluster is {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # Once: a second signal must not cut the cleaning up short, or nodes would be left behind.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@dataclass
class _Demo:
    """One run of the demo."""

    count: int
    folder: Path
    started: set[str] = field(default_factory=set)
    elsewhere: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    shares: list[Future[None]] = field(default_factory=list)

    def run(self) -> int:
        """Walk through the demo and return its exit code."""
        workflows = asset("workflows")
        journal = self.folder / "journal"
        with (
            processes(self.folder, workflows / "order.py", journal) as nodes,
            DemoScreen(self.count) as screen,
        ):
            self._form(nodes, screen)
            with Client(nodes[0].url) as client:
                source = (workflows / "order.rwf").read_text(encoding="utf-8")
                client.deploy(source, "workflows/order.rwf")
            with Watch(nodes, self.count) as watch:
                takeover, before = self._through_the_kill(nodes, watch, screen)
                verdict = self._verify(nodes, watch, journal, screen)
        attempts = _attempts(journal)
        screen.summary(
            [
                (
                    "runs",
                    f"{self.count} through three nodes ({self.elsewhere} went to another one)",
                ),
                ("shown before the kill", f"{before} results, all of them kept"),
                ("settled", f"{verdict.settled} computes on every node"),
                ("attempts", f"{attempts.total()} in the journal of the activities"),
                ("takeover", f"{_millis(takeover)} ms from the kill to the next settled step"),
                ("histories", "byte-identical on three nodes" if verdict.holds else "see below"),
            ]
        )
        return self._last_line(verdict, takeover)

    # -------------------------------------------------------------- acts
    def _form(self, nodes: Sequence[NodeProcess], screen: DemoScreen) -> None:
        nodes[0].start()
        nodes[0].wait_until_serving()
        for node in nodes[1:]:
            node.start()
        for node in nodes[1:]:
            node.wait_until_serving()
        end = time.monotonic() + PATIENCE_SECONDS
        for node in nodes:
            with Client(node.url) as client:
                while not _complete(client):
                    _check(end, f"node {node.name} does not see three members in every group")
                    time.sleep(TICK_SECONDS)
        names = ", ".join(f"{n.name} = node {n.number} (process {n.pid})" for n in nodes)
        screen.say(f"three nodes form a cluster: {names}")

    def _through_the_kill(
        self, nodes: Sequence[NodeProcess], watch: Watch, screen: DemoScreen
    ) -> tuple[Takeover, int]:
        """Start the runs, kill the owner of most, start it again, wait for every end."""
        with ThreadPoolExecutor(len(nodes)) as starters, _set_at_end(self.over):
            self.shares = [
                starters.submit(self._start_share, nodes, n, watch) for n in range(len(nodes))
            ]
            self._until(nodes, watch, screen, lambda views: _share(views, self.count) >= 0.4)
            watch.pause = FAST_SECONDS
            self._until(nodes, watch, screen, lambda views: _share(views, self.count) >= 0.5)
            victim, takeover, before = self._kill_an_owner(nodes, watch, screen)
            self._until(
                nodes, watch, screen, lambda views: _taken_over(takeover, views, self.count)
            )
            watch.pause = SLOW_SECONDS
            screen.say(
                f"{_millis(takeover)} ms later run {takeover.first_run} goes on under a new owner; "
                f"node {victim.name} is started again"
            )
            victim.start()
            self._until(nodes, watch, screen, lambda _: all(s.done() for s in self.shares))
        victim.wait_until_serving()
        self._until(
            nodes,
            watch,
            screen,
            lambda views: len(views) == self.count and all(v.ended for v in views),
        )
        screen.say("every run has ended; now everything is verified")
        return takeover, before

    def _start_share(self, nodes: Sequence[NodeProcess], first: int, watch: Watch) -> None:
        """Start every third run through one node, and through another if that one is gone."""
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(Client(node.url, timeout=3, patience=0)) for node in nodes
            ]
            order = clients[first:] + clients[:first]
            for number in range(first, self.count, len(nodes)):
                while watch.live(len(self.started)) >= self.count // LIVE_SHARE:
                    if self.over.wait(FAST_SECONDS):
                        return
                self._start_one(order, number)

    def _start_one(self, clients: Sequence[Client], number: int) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        name, run_id, given = demo_orders.order(number)
        for attempt in itertools.count():
            try:
                clients[attempt % len(clients)].start(name, given, id=run_id)
            except Unavailable as error:
                _check(end, f"run {run_id} cannot be started: {error}")
                if self.over.wait(TICK_SECONDS):
                    return
                continue
            self.started.add(run_id)
            self.elsewhere += attempt > 0
            return

    def _kill_an_owner(
        self, nodes: Sequence[NodeProcess], watch: Watch, screen: DemoScreen
    ) -> tuple[NodeProcess, Takeover, int]:
        views = watch.runs()
        owned = Counter(view.owner for view in views if not view.ended)
        number, most = owned.most_common(1)[0]
        victim = next(node for node in nodes if node.number == number)
        orphans = frozenset(v.id for v in views if v.owner == number and not v.ended)
        pid = victim.pid
        before = len(watch.results())
        killed_at = time.monotonic()
        victim.kill()
        takeover = watch.takeover = Takeover(number, orphans, killed_at)
        settled = sum(view.events for view in views)
        screen.say(
            f"after {settled} events, kill -9 of node {victim.name} (process {pid}), which owned "
            f"{most} of {owned.total()} live runs"
        )
        return victim, takeover, before

    def _until(
        self,
        nodes: Sequence[NodeProcess],
        watch: Watch,
        screen: DemoScreen,
        done: Callable[[list[RunView]], bool],
    ) -> None:
        """Show what clients see until ``done`` says so."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            views = watch.runs()
            screen.show(nodes, views)
            if done(views):
                return
            for share in self.shares:
                if share.done():
                    share.result()  # What went wrong in a share is raised here.
            for node in nodes:
                if not node.killed and node.process is not None and node.process.poll() is not None:
                    raise DemoFailed(f"node {node.name} ended by itself:\n{node.end_of_log()}")
            if time.monotonic() > end:
                raise DemoFailed(_stuck(views, self.count))
            time.sleep(TICK_SECONDS)

    # -------------------------------------------------------------- the end
    def _verify(
        self, nodes: Sequence[NodeProcess], watch: Watch, journal: Path, screen: DemoScreen
    ) -> Verdict:
        final: dict[str, Mapping[str, RunView]] = {}
        histories: dict[str, Mapping[str, HistoryView]] = {}
        for node in nodes:
            with Client(node.url) as client:
                histories[node.name] = dict(_own_copies(client, sorted(self.started)))
                final[node.name] = {view.id: view for view in client.runs(limit=self.count)}
            screen.show(nodes, watch.runs())
        return verify(
            Evidence(
                frozenset(self.started),
                demo_orders.wrong,
                final,
                watch.results(),
                watch.contradictions,
                histories,
                _attempts(journal),
            )
        )

    def _last_line(self, verdict: Verdict, takeover: Takeover) -> int:
        for line in verdict.lines():
            print(f"demo: FAILED: {line}")
        print(
            f"demo: {self.count} runs, 1 owner killed, takeover {_millis(takeover)} ms, "
            f"{len(verdict.lost)} lost, {len(verdict.twice)} settled twice"
        )
        return 0 if verdict.holds else 1


@contextlib.contextmanager
def _set_at_end(event: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()


# ------------------------------------------------------------------ looking
def _complete(client: Client) -> bool:
    """Tell whether every group has three voters and a leader, as this node sees it."""
    groups = client.status().groups
    return len(groups) > 1 and all(len(g.members) == 3 and g.leader for g in groups)


def _share(views: list[RunView], count: int) -> float:
    """Return which part of all steps is settled, judged by the runs that have ended already."""
    ended = [view.events for view in views if view.ended]
    if not ended:
        return 0.0
    return sum(view.events for view in views) / (count * sum(ended) / len(ended))


def _taken_over(takeover: Takeover, views: list[RunView], count: int) -> bool:
    """Tell whether the takeover is measured; `DemoFailed` if there is nothing left to measure."""
    if takeover.seconds is None and len(views) == count and all(view.ended for view in views):
        raise DemoFailed("no run of the killed owner was seen to go on under another one")
    return takeover.seconds is not None


def _own_copies(client: Client, runs: Sequence[str]) -> Iterator[tuple[str, HistoryView]]:
    """Yield the node's own history of each run, once it has the end; or what it has by then."""
    end = time.monotonic() + PATIENCE_SECONDS / 4
    for run in runs:
        while True:
            late = time.monotonic() > end
            try:
                view = client.history(run, local=True)
            except UnknownRun:
                view = None
            if view is not None and (late or isinstance(decode(view.events[-1]), Ended)):
                yield run, view
                break
            if late:
                break
            time.sleep(TICK_SECONDS)


def _attempts(journal: Path) -> Counter[str]:
    """Return how often each idempotency key stands in the journal of the activities."""
    try:
        return Counter(journal.read_text(encoding="utf-8").splitlines())
    except OSError:
        return Counter()


def _millis(takeover: Takeover) -> int:
    return round((takeover.seconds or 0) * 1000)


def _stuck(views: list[RunView], count: int) -> str:
    live = [view for view in views if not view.ended]
    first = live[0] if live else None
    about = (
        f"; run {first.id} is {first.status} {first.reason or first.waiting_for}" if first else ""
    )
    return f"nothing more happens: {len(views) - len(live)} of {count} runs have ended{about}"


def _check(end: float, problem: str) -> None:
    if time.monotonic() > end:
        raise DemoFailed(problem)
