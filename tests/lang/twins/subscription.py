"""Twin of subscription.rwf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from raftoral import (
    Call,
    Checkpoint,
    Compute,
    Flow,
    Money,
    Race,
    Receive,
    Restart,
    Sleep,
    SleepUntil,
    workflow,
)
from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import activity, scope


@dataclass(frozen=True)
class Plan:
    name: str
    price: Money
    trial: timedelta
    grace: timedelta


@dataclass(frozen=True)
class Carried:
    plan: Plan
    periods: int
    arrears: Money
    due: datetime


@dataclass(frozen=True)
class Change:
    plan: Plan


@dataclass(frozen=True)
class Leave:
    by: str


@activity("billing.charge")
def charge(customer: str, amount: Money, period: int) -> str:
    raise NotImplementedError


@activity("calendar.add_months")
def add_months(moment: datetime, months: int, zone: str) -> datetime:
    raise NotImplementedError


@activity("mail.template")
def template(customer: str, name: str, values: dict[str, str]) -> None:
    raise NotImplementedError


NOTHING = Money(Decimal("0.00"), "EUR")
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
"""What the program asks of `self.started`: when the clock of a world begins."""


def plus(a: Money, b: Money) -> Money:
    return Money(a.amount + b.amount, a.currency)


@workflow("billing.subscription", version=1)
def subscription(customer: str, plan: Plan, carried: Carried | None = None) -> Flow[Any]:
    if carried is None:
        yield from Sleep(plan.trial)
    current = yield from Checkpoint("current", carried.plan if carried else plan)
    periods = yield from Checkpoint("periods", carried.periods if carried else 0)
    arrears = yield from Checkpoint("arrears", carried.arrears if carried else NOTHING)
    due = yield from Checkpoint("due", carried.due if carried else STARTED)

    for month in range(12):
        with scope(f"_month[{month}]"):
            try:
                invoice = yield from (
                    Compute(
                        "invoice",
                        charge,
                        customer,
                        plus(current.value.price, arrears.value),
                        periods.value,
                    )
                    .retry(6, first="1h", longest="24h", only=("Timeout", "Unavailable"))
                    .timeout("30s")
                    .idempotency_key(f"{customer}-{periods.value}")
                )
                yield from arrears.set(NOTHING)
                given = {"customer": customer, "invoice": invoice}
                yield from Call(None, "billing.receipt", **given).at(1)
            except WorkflowFailed as failure:
                if failure.name != "CardDeclined":
                    raise
                yield from arrears.set(plus(arrears.value, current.value.price))
                values = {"code": failure.details["code"], "owed": str(arrears.value)}
                yield from Compute(None, template, customer, "declined", values).timeout("10s")
                won = yield from Race(
                    None,
                    change_plan=Receive("change_plan", Change),
                    after=Sleep(current.value.grace),
                )
                if won.name == "after":
                    return ["Unpaid", {"arrears": arrears.value}]
                yield from current.set(won.value.plan)

            following = yield from (
                Compute("following", add_months, due.value, 1, "Europe/Berlin").timeout("5s")
            )
            yield from due.set(following)
            yield from periods.set(periods.value + 1)

            turn, open_ = 0, True
            while open_:
                with scope(f"while#0[{turn}]"):
                    turn += 1
                    over = yield from Race(
                        "over",
                        change_plan=Receive("change_plan", Change),
                        leave=Receive("leave", Leave),
                        period=until(due.value),
                    )
                    if isinstance(over.value, Leave):
                        return ["Left", {"by": over.value.by}]
                    if isinstance(over.value, Change):
                        yield from current.set(over.value.plan)
                        values = {"plan": over.value.plan.name}
                        yield from (
                            Compute(None, template, customer, "plan-changed", values).timeout("10s")
                        )
                    open_ = over.name != "period"
    yield from Restart(
        customer=customer,
        plan=current.value,
        carried=Carried(current.value, periods.value, arrears.value, due.value),
    )


def until(moment: datetime) -> Flow[bool]:
    yield from SleepUntil(moment)
    return True
