"""Twins of shop_v1.rwf and shop_v2.rwf."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from raftoral import Checkpoint, Compute, Flow, Log, Money, Receive, Saga, workflow
from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import activity


@dataclass(frozen=True)
class Item:
    sku: str
    qty: int
    price: Money


@dataclass(frozen=True)
class Order:
    id: str
    customer: str
    card: str
    items: list[Item]


@dataclass(frozen=True)
class Payment:
    id: str
    amount: Money


@dataclass(frozen=True)
class Receipt:
    order: str
    payment: str
    tracking: str


@dataclass(frozen=True)
class Reviewed:
    by: str
    ok: bool


class Status(Enum):
    RECEIVED = "Received"
    RESERVED = "Reserved"
    CHARGED = "Charged"
    SHIPPED = "Shipped"


@activity("stock.reserve")
def reserve(order: str, items: list[Item]) -> str:
    raise NotImplementedError


@activity("stock.release")
def release(reservation: str) -> None:
    raise NotImplementedError


@activity("payments.charge")
def charge(order: str, amount: Money, card: str) -> Payment:
    raise NotImplementedError


@activity("payments.refund")
def refund(payment: str) -> None:
    raise NotImplementedError


@activity("shipping.dispatch")
def dispatch(order: str) -> str:
    raise NotImplementedError


@activity("fraud.score")
def fraud_score(order: str, customer: str, amount: Money) -> Decimal:
    raise NotImplementedError


GENTLE = {"first": "200ms", "longest": "10s", "jitter_percent": 20}
PASSING = ("Timeout", "Unavailable")


def total(order: Order) -> Money:
    amounts = [item.price.amount * item.qty for item in order.items]
    return Money(sum(amounts, start=Decimal(0)), "EUR")


def reserving(order: Order) -> Compute[str]:
    return (
        Compute("reservation", reserve, order.id, order.items)
        .retry(5, only=PASSING, **GENTLE)
        .timeout("5s")
        .undone_by(
            lambda done: (
                Compute(None, release, done).retry(20, first="1s", longest="10m").timeout("5s")
            )
        )
    )


def charging(order: Order, amount: Money) -> Compute[Payment]:
    return (
        Compute("payment", charge, order.id, amount, order.card)
        .retry(3, first="1s", longest="30s", only=("Timeout",))
        .timeout("10s")
        .idempotency_key(f"charge-{order.id}")
        .undone_by(
            lambda paid: (
                Compute(None, refund, paid.id).retry(20, first="1s", longest="10m").timeout("10s")
            )
        )
    )


def shipping(order: Order) -> Compute[str]:
    return Compute("tracking", dispatch, order.id).retry(5, only=PASSING, **GENTLE).timeout("1m")


@workflow("shop.process", version=1)
def first(order: Order) -> Flow[Receipt]:
    status = yield from Checkpoint("status", Status.RECEIVED)
    amount = total(order)
    if amount.amount <= 0:
        raise WorkflowFailed("EmptyOrder")

    def selling() -> Flow[Receipt]:
        yield from reserving(order)
        yield from status.set(Status.RESERVED)
        payment = yield from charging(order, amount)
        yield from status.set(Status.CHARGED)
        tracking = yield from shipping(order)
        yield from status.set(Status.SHIPPED)
        return Receipt(order.id, payment.id, tracking)

    return (yield from Saga(selling()))


@workflow("shop.process", version=2)
def second(order: Order) -> Flow[Receipt]:
    status = yield from Checkpoint("status", Status.RECEIVED)
    amount = total(order)
    if amount.amount <= 0:
        raise WorkflowFailed("EmptyOrder")

    def selling() -> Flow[Receipt]:
        yield from reserving(order)
        yield from status.set(Status.RESERVED)
        score = yield from (
            Compute("score", fraud_score, order.id, order.customer, amount)
            .retry(5, only=PASSING, **GENTLE)
            .timeout("5s")
        )
        yield from weighed(order, amount, score)
        payment = yield from charging(order, amount)
        yield from status.set(Status.CHARGED)
        tracking = yield from shipping(order)
        yield from status.set(Status.SHIPPED)
        return Receipt(order.id, payment.id, tracking)

    return (yield from Saga(selling()))


def weighed(order: Order, amount: Money, score: Decimal) -> Flow[None]:
    if amount.amount < 20 or score < Decimal("0.60"):
        yield from Log(f"order {order.id} passed")
        return
    if score >= Decimal("0.90"):
        raise WorkflowFailed("FraudSuspected", details={"score": score})
    yield from Log(f"order {order.id} waits for a person, score {score}")
    answer = yield from Receive("reviewed", Reviewed).timeout("24h")
    if answer is None:
        raise WorkflowFailed("FraudSuspected", details={"score": score})
    if not answer.ok:
        raise WorkflowFailed("FraudSuspected", f"refused by {answer.by}", {"score": score})
