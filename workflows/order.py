"""The same as order.rwf, written as a Python generator; it yields exactly the same effects.

The activities are here too, for both: run this file's `registry` and start `order` or `order_py`.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from decimal import Decimal
from typing import TypedDict

from raftoral import (
    Checkpoint,
    Compute,
    Flow,
    Money,
    Receive,
    Registry,
    Sleep,
    WorkflowFailed,
    activity,
    current_attempt,
    workflow,
)


class Item(TypedDict):  # a map, as order.rwf hands it to the activities
    sku: str
    qty: int
    price: Money


@dataclass(frozen=True)
class Order:
    id: str
    card: str
    items: list[Item]


@dataclass(frozen=True)
class Receipt:
    order: str
    amount: Money
    payment: str
    tracking: str


@dataclass(frozen=True)
class Decision:
    by: str
    ok: bool


# ---------------------------------------------------------------- activities
async def work() -> None:
    """Take a moment, as a real service would, and note the idempotency key in the journal."""
    await asyncio.sleep(0.02)
    journal = os.environ.get("ORDER_JOURNAL")
    if journal:
        line = current_attempt().idempotency_key.encode() + b"\n"
        file = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # one write, one line
        try:
            os.write(file, line)
        finally:
            os.close(file)


@activity("stock.reserve")
async def reserve(order: str, items: list[Item]) -> str:
    await work()
    return f"r-{order}"


@activity("stock.release")
async def release(reservation: str) -> None:
    await work()


@activity("payments.charge")
async def charge(order: str, amount: Money, card: str) -> str:
    await work()
    if card == "declined":
        raise WorkflowFailed("CardDeclined", "the bank says no", {"code": "51"})
    return f"p-{order}"


@activity("shipping.dispatch")
async def dispatch(order: str) -> str:
    await work()
    return f"t-{order}"


@activity("people.greet")
async def greet(name: str) -> str:
    await work()
    return f"Hello, {name}!"


# ---------------------------------------------------------------- the workflow
NOTHING = Money(Decimal("0.00"), "EUR")
APPROVE_ABOVE = Money(Decimal("500.00"), "EUR")


def total(order: Order) -> Money:
    amounts = [item["price"].amount * item["qty"] for item in order.items]
    return Money(sum(amounts, start=Decimal(0)), "EUR")


@workflow("order_py", version=1)
def order(order: Order) -> Flow[Receipt]:
    status = yield from Checkpoint("status", "received")
    amount = total(order)
    if amount.amount <= NOTHING.amount:
        raise WorkflowFailed("EmptyOrder")

    if amount.amount > APPROVE_ABOVE.amount:
        yield from status.set("waiting for approval")
        decision = yield from Receive("approved", Decision).timeout("24h")
        if decision is None:
            raise WorkflowFailed("NotApproved", details={"by": "nobody in a day"})
        if not decision.ok:
            raise WorkflowFailed("NotApproved", details={"by": decision.by})

    reservation = yield from (
        Compute("reservation", reserve, order.id, order.items)
        .retry(5, first="200ms", longest="10s")
        .timeout("5s")
    )
    yield from status.set("reserved")

    try:
        payment = yield from (
            Compute("payment", charge, order.id, amount, order.card)
            .retry(5, first="200ms", longest="10s", only=("Timeout", "Unavailable"))
            .timeout("10s")
        )
        yield from status.set("charged")

        yield from Sleep("50ms")
        tracking = yield from (
            Compute("tracking", dispatch, order.id)
            .retry(5, first="200ms", longest="10s")
            .timeout("5s")
        )
        yield from status.set("shipped")
        return Receipt(order.id, amount, payment, tracking)
    except WorkflowFailed as failure:
        if failure.name != "CardDeclined":
            raise
        yield from (
            Compute(None, release, reservation).retry(20, first="1s", longest="10m").timeout("5s")
        )
        yield from status.set(f"declined: {failure.details['code']}")
        raise


registry = Registry(workflows=[order], activities=[reserve, release, charge, dispatch, greet])
