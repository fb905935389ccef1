"""Workflows that the tests of `raftoral.testing` run; some are wrong on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from raftoral import (
    Call,
    Callback,
    Checkpoint,
    Compute,
    Flow,
    ForEach,
    Log,
    Money,
    Now,
    Parallel,
    Random,
    Receive,
    Registry,
    Sleep,
    Update,
    WorkflowFailed,
    activity,
    workflow,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


@dataclass(frozen=True)
class Receipt:
    """What an order comes to."""

    id: str
    amount: Money


@activity("shop.charge")
def charge(order: str, amount: Decimal) -> str:
    """Charge a card; no test may do it."""
    raise AssertionError("a test has charged a card")


@activity("shop.ship")
async def ship(order: str) -> str:
    """Ship something."""
    return f"shipped {order}"


def plain(text: str) -> str:
    """An activity by use."""
    return text.upper()


@workflow("shop.order", version=3)
def order(id: str, amount: Decimal = Decimal(5)) -> Flow[Receipt]:
    """Pay, wait a day, ship."""
    status = yield from Checkpoint("status", "new")
    yield from Compute("payment", charge, id, amount).retry(3, first="1s")
    yield from status.set("paid")
    yield from Sleep("24h")
    yield from Log(f"{id} is shipped")
    yield from Compute("tracking", ship, id).timeout("5s")
    yield from status.set("shipped")
    return Receipt(id, Money(amount, "EUR"))


@workflow("child", version=1)
def child(n: int) -> Flow[int]:
    """Double a number."""
    return (yield from Compute("twice", plain_twice, n))


def plain_twice(n: int) -> int:
    """Double it."""
    return 2 * n


def one(item: str) -> Flow[str]:
    """Take one item."""
    return (yield from Compute("one", plain, item))


@workflow("everything", version=1)
def everything(names: list[str]) -> Flow[dict[str, Any]]:
    """Wait for everything that there is."""
    now: datetime = yield from Now()
    approved = yield from Receive("approved", bool).timeout("1h")
    wanted = yield from Update("wanted", int, lambda n: n + 1)
    pending = yield from Callback("review", str)
    each = yield from ForEach("each", names, one, limit=2)
    both = yield from Parallel("both", one("x"), Call("child", child, 4))
    review = yield from pending.wait()
    dice = yield from Random(6)
    once = yield from Compute("once", plain, "once").at_most_once()
    return {
        "now": now,
        "approved": approved,
        "wanted": wanted,
        "each": each,
        "both": list(both),
        "review": review,
        "dice": dice,
        "once": once,
    }


@workflow("gives.up", version=1)
def gives_up() -> Flow[str]:
    """Take a failure for an answer."""
    try:
        return (yield from Compute("payment", charge, "o", Decimal(1)))
    except WorkflowFailed as failure:
        return failure.name


# ---------------------------------------------------------------- wrong on purpose
def counting() -> Callable[[], int]:
    """Return a closure that remembers: what no workflow may use."""
    count = 0

    def add() -> int:
        nonlocal count
        count += 1
        return count

    return add


add = counting()


@workflow("remembers", version=1)
def remembers() -> Flow[None]:
    """Name its steps by what other runs, and its own replays, have left behind."""
    yield from Compute(f"step-{add()}", plain, "x")
    yield from Sleep("1s")


@workflow("unordered", version=1)
def unordered(names: list[str]) -> Flow[None]:
    """Go through a set."""
    for name in set(names):
        yield from Compute(f"greet-{name}", plain, name)


careless = Registry(workflows=[remembers, unordered], lint=False)
