"""Twin of approval.rwf."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from raftoral import Checkpoint, Compute, Flow, Money, Race, Receive, Sleep, workflow
from raftoral.replay.effects import activity, scope


@dataclass(frozen=True)
class Expense:
    id: str
    employee: str
    manager: str
    amount: Money
    reason: str


@dataclass(frozen=True)
class Approve:
    by: str


@dataclass(frozen=True)
class Reject:
    by: str
    why: str


@activity("chat.ask")
def ask(who: str, text: str) -> None:
    raise NotImplementedError


@activity("ledger.post")
def post(expense: Expense, by: str) -> str:
    raise NotImplementedError


def posting(expense: Expense, by: str) -> Compute[str]:
    return Compute(None, post, expense, by).retry(8, first="1s", longest="10m").timeout("30s")


def asking(who: str, text: str) -> Compute[None]:
    return Compute(None, ask, who, text).retry(5, first="1s", longest="1m").timeout("10s")


@workflow("expenses.approve", version=1)
def approve(expense: Expense) -> Flow[Any]:
    if expense.amount.amount < 25:
        yield from posting(expense, "policy")
        return ["Approved", {"by": "policy"}]

    approver = yield from Checkpoint("approver", expense.manager)
    reminders = yield from Checkpoint("reminders", 0)
    yield from asking(approver.value, f"Please decide {expense.id}: {expense.reason}")

    for turn in range(7):
        with scope(f"while#0[{turn}]"):
            won = yield from Race(
                None,
                approve=Receive("approve", Approve),
                reject=Receive("reject", Reject),
                after=Sleep("1d"),
            )
            match won.value:
                case Approve(by):
                    yield from posting(expense, by).idempotency_key(f"post-{expense.id}")
                    return ["Approved", {"by": by}]
                case Reject() as no:
                    return ["Rejected", asdict(no)]
                case _:
                    yield from reminders.set(reminders.value + 1)
            if reminders.value == 3:
                yield from approver.set("finance-lead")
            yield from asking(approver.value, f"Reminder {reminders.value} for {expense.id}")
    return "Expired"
