"""What must hold after a chaos run: nothing acknowledged is lost, and every node says the same."""

from __future__ import annotations

import base64
import hashlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from raftoral.convert import to_json
from raftoral.replay.history import Done, Ended, Started, decode
from raftoral.sim.linearizability import Verdict, check
from tests.chaos.record import run_model

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from raftoral.sim.linearizability import Model
    from tests.bench.processes import Member
    from tests.chaos.record import Record

SETTLED_SECONDS_MAX = 30.0


class Nodes(Protocol):
    """The nodes that must agree, and a client to ask them with."""

    members: list[Member]
    client: httpx.Client


@dataclass
class Findings:
    """What was lost, and everything else that should not be, as sentences."""

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    verdict: Verdict = Verdict.UNKNOWN
    steps: int = 0
    checked: int = 0
    """How many operations the verdict is about."""
    keys: int = 0
    """How many runs those were asked of."""

    @property
    def summary(self) -> str:
        """The verdict in words, and what it was reached from."""
        how = f"{self.checked:,} operations on {self.keys:,} runs"
        return f"{len(self.lost)} acknowledged lost, {self.verdict.value}: {how}"

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.lost and not self.wrong and self.verdict is Verdict.YES


def verify(cluster: Nodes, record: Record, runs: list[str], journal: Path) -> Findings:
    """Compare what clients were told with what each node holds, ``runs`` being all there are."""
    findings = Findings()
    tokens = _journal(journal)
    for run_id in sorted({*runs, *record.started, *record.signalled, *record.results}):
        copies = [local_copy(cluster, number, run_id) for number in range(len(cluster.members))]
        if any(copy is None for copy in copies):
            missing = [number for number, copy in enumerate(copies, 1) if copy is None]
            findings.lost.append(f"{run_id} is not on nodes {missing}")
            continue
        events = copies[0] or []
        if any(copy != events for copy in copies):
            findings.wrong.append(f"the nodes hold different histories of {run_id}")
        _steps(run_id, events, tokens, findings)
        _promises(run_id, events, record, findings)
    findings.wrong += [f"{run_id} was shown with two ends" for run_id in record.contradictions]
    judge(record, run_model(), findings)
    return findings


def judge(record: Record, model: Model, findings: Findings) -> None:
    """Note whether all that clients asked and were told could have happened one at a time."""
    operations = record.history.operations()
    finding = check(operations, model)
    findings.verdict = finding.verdict
    findings.checked = len(operations)
    findings.keys = len({operation.key for operation in operations})
    if finding.verdict is not Verdict.YES:
        findings.wrong.append(f"{finding.key}: {finding.verdict.value}")
        findings.wrong += [
            f"  {operation}"
            for operation in sorted(operations, key=lambda each: each.began)
            if operation.key == finding.key
        ]


def local_copy(cluster: Nodes, number: int, run_id: str) -> list[bytes] | None:
    """Return a node's own history of a run that has ended; None if it does not get that far."""
    until = time.monotonic() + SETTLED_SECONDS_MAX
    url = f"{cluster.members[number].url}/v1/runs/{quote(run_id, safe='')}/history?local=1"
    while time.monotonic() < until:
        answer = cluster.client.get(url)
        if answer.status_code == 200:
            events = [base64.b64decode(event["bytes"]) for event in answer.json()["events"]]
            assert hashlib.sha256(b"".join(events)).hexdigest() == answer.json()["sha256"]
            if events and isinstance(decode(events[-1]), Ended):
                return events
        time.sleep(0.05)
    return None


def _journal(journal: Path) -> dict[str, set[str]]:
    """Return the tokens of all attempts by idempotency key."""
    tokens: dict[str, set[str]] = defaultdict(set)
    for line in journal.read_text(encoding="utf-8").splitlines():
        key, token = line.split(" ")
        tokens[key].add(token)
    return tokens


def _steps(run_id: str, data: list[bytes], tokens: dict[str, set[str]], found: Findings) -> None:
    events = [decode(each) for each in data]
    generation = next(event.generation for event in events if isinstance(event, Started))
    done = [event for event in events if isinstance(event, Done)]
    found.steps += len(done)
    for path, count in Counter(event.path for event in done).items():
        if count > 1:
            found.wrong.append(f"{run_id}/{path} is settled {count} times")
    for event in done:
        if event.value not in tokens[f"{run_id}/{generation}/{event.path}"]:
            found.wrong.append(f"{run_id}/{event.path} holds what no attempt returned")


def _promises(run_id: str, data: list[bytes], record: Record, found: Findings) -> None:
    end: Any = decode(data[-1])
    if end.status != "completed":
        found.wrong.append(f"{run_id} ended as {end}")
        return
    shown = record.results.get(run_id)
    if shown is not None and shown != to_json(["completed", end.value, None]):
        found.lost.append(f"the end of {run_id} that a client was shown")
    missing = record.signalled.get(run_id, set()) - set(end.value)
    found.lost += [f"the signal {payload}" for payload in sorted(missing)]
    if len(set(end.value)) != len(end.value):
        found.wrong.append(f"{run_id} took something twice: {end.value}")
