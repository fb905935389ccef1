"""Activities that run in processes of their own, where a worker can import them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from raftoral.replay.context import current
from raftoral.replay.effects import activity


@dataclass
class Order:
    """An argument with a type."""

    id: str
    price: Decimal


@activity("computing.total", process=True)
def total(order: Order, *counts: int, factor: float = 1.0) -> Order:
    """Return the order with another price."""
    return Order(order.id, order.price * sum(counts) * Decimal(str(factor)))


@activity("computing.where", process=True)
def where(_turn: int) -> list[object]:
    """Return which process this is, and what the attempt knows of itself."""
    context = current()
    key = context.idempotency_key
    return [os.getpid(), key, context.attempt, context.last_heartbeat]


@activity("computing.spin", process=True)
def spin(mark: str) -> None:
    """Write down the process and compute for ever."""
    with Path(mark).open("a") as file:
        file.write(f"{os.getpid()}\n")
    while True:
        pass


@activity("computing.watch", process=True)
def watch() -> str:
    """Tell that it is alive until nobody waits any more."""
    while not current().cancelled:
        current().heartbeat("alive")
        time.sleep(0.01)
    return "told"


@activity("computing.fall", process=True)
def fall() -> None:
    """Die on the first attempt."""
    current().heartbeat({"page": 7})
    if current().attempt == 1:
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)


@activity("computing.refuse", process=True)
def refuse(kind: str) -> object:
    """Raise, leave, or return what cannot be stored."""
    if kind == "raise":
        raise ValueError("no")
    if kind == "leave":
        raise SystemExit(3)
    return {1, 2}


class Hidden:
    """Holds a function that is not found where its name says."""

    @staticmethod
    def moved() -> int:
        """Return a number."""
        return 1


Hidden.moved.__qualname__ = "Hidden.gone"
