"""The application whose runs the tests step through."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from raftoral import (
    Checkpoint,
    Compute,
    Flow,
    Log,
    Money,
    Receive,
    Registry,
    Sleep,
    WorkflowFailed,
    activity,
    scope,
    workflow,
)


@dataclass(frozen=True)
class Order:
    """What is bought."""

    id: str
    items: list[str]
    amount: Money


@activity("stock.reserve")
def reserve(item: str) -> str:
    """Reserve one item."""
    return f"r-{item}"


@activity("payments.charge")
def charge(order_id: str, amount: Money) -> str:
    """Charge the whole amount."""
    return f"p-{order_id}-{amount}"


@workflow("order", version=1)
def order(order: Order) -> Flow[str]:
    """Reserve each item, wait for an approval, charge."""
    status = yield from Checkpoint("status", "received")
    reservations = []
    for item in order.items:
        with scope(item):
            done = yield from Compute("reservation", reserve, item).retry(3)
            reservations.append(done)
    yield from status.set("reserved")
    approval = yield from Receive("approve").timeout("2d")
    if approval is None:
        raise WorkflowFailed("NotApproved", "nobody approved in time")
    yield from Log(f"approved by {approval['by']}")
    payment = yield from Compute("payment", charge, order.id, order.amount)
    yield from status.set("charged")
    yield from Sleep("1h")
    return payment


@workflow("hasty", version=1)
def hasty(order: Order) -> Flow[str]:
    """Charge before anything is reserved: what a history of `order` does not hold."""
    status = yield from Checkpoint("status", "received")
    payment = yield from Compute("payment", charge, order.id, order.amount)
    yield from status.set("charged")
    return payment


registry = Registry(workflows=[order, hasty], activities=[reserve, charge])

SAMPLE = Order("o-7719", ["lamp", "desk"], Money(Decimal("80.00"), "EUR"))
