"""`python -m tests.chaos --minutes 5`: three processes, eight clients, a blow every two seconds.

Prints what was measured and, last, whether everything that was acknowledged is there. Exits with 1
if anything is not as promised. Leaves nothing running and nothing on the disk.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.bench.processes import Cluster
from tests.chaos import mixed
from tests.chaos.checks import Findings, verify
from tests.chaos.clients import Caller, Ids, finish
from tests.chaos.netns import refusal
from tests.chaos.record import Record
from tests.chaos.storm import weather
from tests.chaos.sweep import sweep
from tests.chaos.trouble import Trouble, gaps, quantile

CLIENTS = 8
APP = Path(__file__).with_name("app.py")


def run(seconds: float, seed: int, folder: Path, layer: str = "consensus") -> Findings:
    """Do it for so long and print what was measured; return what was found."""
    mix = layer == "workflows"
    journal = folder / "journal"
    journal.touch()
    record, over = Record(), threading.Event()
    ids = mixed.MixedIds(seed) if mix else Ids(seed)
    environment = {"CHAOS_JOURNAL": str(journal), "RAFTORAL_LOG": "warning"}
    app = APP.with_name("mixed_app.py") if mix else APP
    with Cluster(folder, app=app, environment=environment) as cluster:
        urls = [member.url for member in cluster.members]
        kind = mixed.MixedCaller if mix else Caller
        callers = [kind(number, urls, ids, record, over) for number in range(CLIENTS)]
        trouble = Trouble(cluster, Random(seed))
        for caller in callers:
            caller.start()
        try:
            trouble.until(time.monotonic() + seconds)
        finally:
            ended = time.monotonic()
            over.set()
            for caller in callers:
                caller.join(30)
        for caller in callers:
            if caller.problem is not None:
                raise caller.problem
        cluster.wait_full(40)
        if mix:
            runs = mixed.finish(cluster, ids, record)
            findings = mixed.verify(cluster, record, runs, journal)
            found = mixed.divergences(cluster)
        else:
            runs = finish(cluster.members[0].url, ids, record)
            findings = verify(cluster, record, runs, journal)
    report(trouble, record, findings, ended)
    if mix:
        twice = sum("settled" in line for line in findings.wrong)
        same = "histories identical" if findings.holds and not found else "NOT AS PROMISED"
        print(f"{len(findings.lost)} lost, {twice} settled twice, {found} divergences, {same}")
        if found:
            findings.wrong.append(f"{found} divergences")
    return findings


def report(trouble: Trouble, record: Record, findings: Findings, ended: float) -> None:
    """Print what was measured, what was found, and the verdict."""
    blows = trouble.blows
    away = gaps(blows, record.writes, ended)
    taken = [b.taken_over_after for b in blows if b.taken_over_after is not None and b.orphans]
    kills = sum(blow.how == "killed" for blow in blows)
    signals = sum(len(each) for each in record.signalled.values())
    print(
        f"{record.calls} calls, {len(record.started)} runs started, {signals} signals taken, "
        f"{len(record.results)} ends shown, {findings.steps} steps settled"
    )
    print(
        f"{kills} kills -9 and {len(blows) - kills} stops, of the leader "
        f"{sum(b.why == 'leader' for b in blows)} times, of the busiest owner "
        f"{sum(b.why == 'owner' for b in blows)} times"
    )
    print(
        f"no write for at most {quantile(away, 0.5) * 1000:.0f} ms (p50), "
        f"{quantile(away, 0.99) * 1000:.0f} ms (p99) after a blow; "
        f"takeover {quantile(taken, 0.5) * 1000:.0f} ms (p50), "
        f"{quantile(taken, 0.99) * 1000:.0f} ms (p99) of {len(taken)}"
    )
    for line in [*findings.lost, *findings.wrong]:
        print(f"FAILED: {line}")
    print(findings.summary)


def storm(seconds: float, seed: int, folder: Path) -> Findings:
    """Let five nodes on a bad network have trouble, and print what was found."""
    brought, record, findings = weather(seconds, seed, folder)
    troubles = ", ".join(f"{count} {name}" for name, count in sorted(brought.count.items()))
    gaps = [after - before for before, after in pairwise(sorted(record.writes))]
    print(
        f"{record.calls} calls, {len(record.started)} runs started, {findings.steps} steps settled"
    )
    print(f"seed {seed}: {troubles}; no write for at most {max(gaps, default=0.0) * 1000:.0f} ms")
    for line in [*findings.lost, *findings.wrong]:
        print(f"FAILED: {line}")
    print(findings.summary)
    return findings


def main() -> int:
    """Read the command line, run, clean up."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layer", choices=("consensus", "workflows"), default="consensus")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="instead, kill one node at each of its writes and syncs",
    )
    parser.add_argument(
        "--netns",
        action="store_true",
        help="instead, five nodes in five network namespaces with lines that are cut, lossy and slow",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder of the cluster")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if chosen.sweep:
        return 0 if sweep() else 1
    if chosen.netns and (why := refusal()) is not None:
        print(f"skipped: {why}")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="raftoral-chaos-"))
    try:
        if chosen.netns:
            return 0 if storm(chosen.minutes * 60, chosen.seed, folder).holds else 1
        return 0 if run(chosen.minutes * 60, chosen.seed, folder, chosen.layer).holds else 1
    finally:
        if chosen.keep:
            print(f"the folder of the cluster is {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
