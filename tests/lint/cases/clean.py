"""What a workflow may do: none of this is reported."""

import asyncio
import hashlib
import json
import logging
import os
import random
import re
import sqlite3
import time
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, partial, reduce
from itertools import groupby
from math import ceil
from operator import attrgetter
from os.path import basename
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import NAMESPACE_DNS, UUID, uuid5

import pydantic
import raftoral as rft
from raftoral import (
    RESULT,
    Branch,
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
    Race,
    Random,
    Receive,
    Registry,
    Restart,
    Saga,
    Sleep,
    SleepUntil,
    Start,
    Update,
    Uuid,
    WorkflowFailed,
    activity,
    scope,
    workflow,
)

log = logging.getLogger(__name__)
registry = Registry()
rates = {"EUR": Decimal(1)}
RATES = {"EUR": Decimal(1)}
LIMIT = Decimal("100.00")
ZERO = Money(Decimal(0), "EUR")
DAY = timedelta(days=1)
WORD = re.compile(r"\w+")
NAMES: Final = ["a", "b"]
DEBUG = os.environ.get("DEBUG")
counter = 0


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Item:
    price: Decimal
    tags: set[str] = field(default_factory=set)

    @property
    def cheap(self) -> bool:
        return self.price < LIMIT

    def times(self, count: int) -> Decimal:
        return self.price * count


class Model(pydantic.BaseModel):
    name: str


@activity("disk.read")
def read(path: str) -> str:
    log.info("reading %s at %s", path, time.time())
    return Path(path).read_text()


@registry.activity("net.get")
async def get(url: str) -> str:
    await asyncio.sleep(random.random())
    return url


def roll(sides: int) -> int:
    """Be an activity by use."""
    global counter
    counter += 1
    return random.randrange(sides)


def total(items: list[Item]) -> Decimal:
    return sum((item.times(2) for item in items if item.cheap), start=Decimal(0))


@cache
def fact(n: int) -> int:
    return 1 if n < 2 else n * fact(n - 1)


@contextmanager
def noted(name: str):
    yield name


def pages(n: int):
    for page in range(n):
        yield page


def step(name: str) -> Flow[str]:
    text = yield from Compute("read", read, name)
    return text


def one(item: str) -> Flow[str]:
    return (yield from Compute("one", read, item))


def build(name: str) -> Compute[str]:
    return Compute(name, read, name).retry(3)


def progress(cells: dict[str, Any]) -> Any:
    return cells["status"]


@workflow("clean", version=1, queries={"progress": progress})
def clean(order: str, items: list[Item], when: datetime, id: str = "") -> Flow[dict[str, Any]]:
    status = yield from Checkpoint("status", "new")
    number = yield from Compute("roll", roll, 6)
    lazy = yield from Compute("lazy", lambda: time.time())
    yield from Compute("retried", read, order).retry(3, first="1s").timeout("5s").compensate(
        roll, RESULT
    )
    yield from status.set("read")
    yield from status.update(lambda text: text.upper())
    if number > 3:
        yield from Compute("same", read, order)
    else:
        yield from Compute("same", get, order)
    for n, item in enumerate(items):
        with scope(f"item-{n}"):
            yield from Compute("same", read, str(item.price))
            yield from step("inside")
    for n in range(3):
        yield from Compute(f"turn-{n}", read, order)
        yield from Sleep("1s")
        yield from Log(f"turn {n:03d} costs {total(items):.2f}")
    with scope("left"):
        yield from step("a")
    with scope("right"):
        yield from step("b")
    both = yield from Parallel("both", step("a"), step("b"))
    named = yield from Parallel("named", left=step("a"), right=Compute(None, read, "b"))
    each = yield from ForEach("each", NAMES, one, by=str, limit=2)
    first = yield from Race("first", step("a"), Sleep("1m"))
    made = build("made")
    yield from made
    answer = yield from Receive("answer", Model).timeout("1h")
    pending = yield from Callback("approval", bool)
    yield from Compute("ask", read, pending.token)
    yes = yield from pending.wait()
    child = yield from Call("child", "other", order)
    left = yield from Start("left", "other", order)
    saved = yield from Saga(step2(order))
    wanted = yield from Update("wanted", str, lambda text: text.strip())
    now = yield from Now()
    dice = yield from Random(6)
    name = yield from Uuid()
    yield from SleepUntil(now + DAY)
    seen = {str(item.price) for item in items}
    ordered = sorted(seen | {"x"})
    many = len(seen), any(one == "x" for one in seen), "x" in seen, sorted(t for t in seen)
    texts = [WORD.findall(text) for text in ordered]
    numbers = defaultdict(list)
    numbers["a"].append(fact(5))
    waiting = deque([1])
    waiting.append(2)
    value = json.loads("[]"), hashlib.sha256(b"").hexdigest(), ceil(Decimal("1.5"))
    uid = UUID(name), uuid5(NAMESPACE_DNS, "x"), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)
    stamp = datetime.fromtimestamp(0, UTC)
    path = PurePath("a") / basename("b/c"), urlsplit("http://x")
    key = attrgetter("price"), partial(total, items), reduce(lambda a, b: a + b, [1, 2])
    groups = [name for name, _ in groupby(ordered)]
    with noted("x") as word:
        status.get()
    for page in pages(3):
        word += str(page)
    try:
        yield from Compute("last", read, order)
    except WorkflowFailed as failure:
        yield from Log(failure.name)
    except (TimeoutError, sqlite3.Error, asyncio.TimeoutError):
        raise
    except BaseException:
        yield from Log("on the way out")
        raise
    if isinstance(order, Path):
        raise TypeError
    rates = dict(RATES)
    hash, print = rates, Colour.RED
    if id:
        yield from Restart(order, items, when)
    return {"many": many, "texts": texts, "rates": rates, "hash": hash, "print": print}


def step2(order: str) -> Flow[None]:
    while True:
        answer = yield from Receive("go", str)
        if answer == "stop":
            yield from Compute("stopped", read, order)
            return
        if answer:
            yield from Compute("went", read, order)
            break


@workflow("bare", version=1)
def bare(order: str) -> Flow[None]:
    cell: Any = yield Checkpoint("cell", 1)
    yield cell.set(2)
    result = yield rft.Compute("x", read, order)
    branches: list[Branch[str]] = [step(order), Compute(None, read, result)]
    yield Parallel("all", *branches)
    effects = [Log(text) for text in NAMES]
    for effect in effects:
        yield effect
