"""What must hold after the demo, as a pure function of what was collected.

Trusts nobody: the steps are counted in each node's own history, the attempts in a journal that the
activities wrote themselves, the results in what clients were shown.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raftoral.convert import to_json
from raftoral.replay.history import Done, Started, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from raftoral.runtime.views import HistoryView, RunView

    Histories = Mapping[str, Mapping[str, HistoryView]]


@dataclass(frozen=True)
class Evidence:
    """What was asked for, what clients saw, and what each node holds.

    ``wrong`` tells what is wrong with a run's result, or nothing. ``histories`` is by node, then
    by run; ``attempts`` counts the journal's idempotency keys.
    """

    started: frozenset[str]
    wrong: Callable[[str, object], str | None]
    final: Mapping[str, Mapping[str, RunView]]
    acknowledged: Mapping[str, bytes]
    contradictions: list[str]
    histories: Histories
    attempts: Counter[str]


@dataclass
class Verdict:
    """What was found: runs lost, steps settled twice, and every other finding, in words."""

    lost: set[str] = field(default_factory=set)
    twice: set[tuple[str, str, str]] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)
    settled: int = 0

    @property
    def holds(self) -> bool:
        """Tell whether everything that was promised was kept."""
        return not (self.lost or self.twice or self.findings)

    def lines(self) -> Iterator[str]:
        """Yield each finding as a sentence."""
        for node, run, path in sorted(self.twice):
            yield f"node {node} has two settlements of {run}/{path}"
        yield from self.findings


def verify(evidence: Evidence) -> Verdict:
    """Return whether every run ended right, once, with the same history on every node."""
    verdict = Verdict()
    _results(evidence, verdict)
    for node, histories in evidence.histories.items():
        _histories(node, histories, evidence, verdict)
    _identical(evidence, verdict)
    return verdict


def _results(evidence: Evidence, verdict: Verdict) -> None:
    for run in evidence.contradictions:
        verdict.lost.add(run)
        verdict.findings.append(f"run {run}: two clients were shown different results")
    for node, views in evidence.final.items():
        for run in sorted(evidence.started):
            problem = _problem(run, views.get(run), evidence)
            if problem is not None:
                verdict.lost.add(run)
                verdict.findings.append(f"run {run} on node {node}: {problem}")


def _problem(run: str, view: RunView | None, evidence: Evidence) -> str | None:
    if view is None:
        return "it was acknowledged as started and is not there"
    if view.status != "completed":
        why = f"{view.error.name}: {view.error.message}" if view.error else view.reason
        return f"it is {view.status} {why}".rstrip()
    shown = evidence.acknowledged.get(run)
    if shown is not None and shown != to_json(view.result):
        return "its result is not the one that a client was shown"
    return evidence.wrong(run, view.result)


def _histories(
    node: str, histories: Mapping[str, HistoryView], evidence: Evidence, verdict: Verdict
) -> None:
    settled = 0
    for run, view in histories.items():
        done, generation = _settled(view)
        settled += len(done)
        verdict.twice |= {(node, run, path) for path, count in done.items() if count > 1}
        verdict.findings += [
            f"node {node} settled {run}/{path}, and no attempt of it is in the journal"
            for path in sorted(done)
            if evidence.attempts[f"{run}/{generation}/{path}"] == 0
        ]
    if missing := evidence.started - histories.keys():
        verdict.findings.append(f"node {node} has no history of {len(missing)} runs")
    verdict.settled = max(verdict.settled, settled)


def _settled(view: HistoryView) -> tuple[Counter[str], int]:
    """Return how often each path is settled in a history, and the history's generation."""
    events = [decode(data) for data in view.events]
    done = Counter(event.path for event in events if isinstance(event, Done))
    generation = next((e.generation for e in events if isinstance(e, Started)), 0)
    return done, generation


def _identical(evidence: Evidence, verdict: Verdict) -> None:
    for run in sorted(evidence.started):
        copies = {n: h[run] for n, h in evidence.histories.items() if run in h}
        for node, view in copies.items():
            if hashlib.sha256(b"".join(view.events)).hexdigest() != view.sha256:
                verdict.findings.append(f"node {node}: the digest of {run} is not of its bytes")
        if len({tuple(view.events) for view in copies.values()}) > 1:
            lengths = ", ".join(f"{n}: {len(v.events)}" for n, v in sorted(copies.items()))
            verdict.findings.append(f"run {run}: the nodes hold different histories ({lengths})")
