"""Sets, module variables, floats, handlers, defaults."""

import itertools
import logging
import os
import random
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from raftoral import Checkpoint, Compute, Flow, ForEach, Log, WorkflowFailed, workflow

log = logging.getLogger(__name__)
STARTED = datetime.now(UTC)
HOME = os.environ["HOME"]
NUMBERS = itertools.count()
DICE = random.Random(5)
LATER = STARTED
names = ["a"]
NAMES = ["a"]
TAGS = {"a", "b"}
CACHE: dict[str, str] = {}
queue = deque()
either = 1
either = 2
total = 0
PAIR, OTHER = 1, 2


@dataclass
class Settings:
    name: str = ""


settings = Settings()
DEFAULTS = Settings()


@dataclass(frozen=True)
class Ticket:
    tags: frozenset[str]
    weight: float
    price: Decimal
    number: str = field(default_factory=lambda: "1")


@dataclass(frozen=True)
class Fresh:
    name: str
    number: str = field(default_factory=uuid4)


@dataclass(frozen=True)
class Stamped:
    name: str
    at: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", datetime.now(UTC))  ### RPY10: `datetime.now`

    @property
    def age(self) -> float:
        return random.random()  ### RPY11: `random.random`

    def later(self) -> float:
        return random.random()  ### RPY11: `random.random`


def remember(name: str) -> None:
    CACHE[name] = name


def count() -> None:
    global total
    total += 1


def fetch(name: str) -> str:
    return name


def one(name: str) -> Flow[str]:
    return (yield from Compute("one", fetch, name))


@workflow("variables", version=1)
def variables(name: str) -> Flow[object]:
    yield from Log(name)
    log.info(name)  ### RPY16: the module variable `log` is made from `logging.getLogger`
    STARTED.isoformat()  ### RPY16: the module variable `STARTED` is made from `datetime.now`
    HOME.upper()  ### RPY16: the module variable `HOME` is made from `os.environ`
    next(NUMBERS)  ### RPY16: the module variable `NUMBERS` is made by `itertools.count`
    DICE.random()  ### RPY16: the module variable `DICE` is made from `random.Random`
    LATER.isoformat()  ### RPY16: the module variable `LATER` is made from `STARTED`, which is made from
    names[0]  ### RPY16: the module variable `names` holds something that can be changed
    NAMES[0]
    CACHE.get(name)  ### RPY16: the module variable `CACHE` is changed while the program runs (line 73
    queue.popleft()  ### RPY16: the module variable `queue` is changed while
    settings.name  ### RPY16: the module variable `settings` holds
    DEFAULTS.name
    return either, total, PAIR, OTHER  ### RPY16: the module variable `either` is assigned in 2 places ### RPY16: the module variable `total` is changed


@workflow("shared", version=1)
def shared(name: str) -> Flow[object]:
    global total  ### RPY17: `total` is shared
    seen = 0

    def inner() -> None:
        nonlocal seen  ### RPY17: `seen` is shared
        seen += 1

    yield from Log(name)
    inner()


@workflow("sets", version=1)
def sets(ticket: Ticket, given: set[str], other: dict[str, int]) -> Flow[object]:
    mine = {"a", "b"}
    for tag in ticket.tags:  ### RPY18: the order of the set `ticket.tags`
        yield from Log(tag)
    for tag in given | mine:  ### RPY18: the order of the set `given | mine`
        pass
    for tag in TAGS - mine:  ### RPY18: the order of the set `TAGS - mine`
        pass
    for tag in other.keys() & given:  ### RPY18: the order of the set `other.keys() & given`
        pass
    for tag in other.keys():
        pass
    yield from ForEach("each", given, one)  ### RPY18: the order of the set `given`
    first, second = mine  ### RPY18: the order of the set `mine`
    given.pop()  ### RPY18: the order of the set `given`
    texts = [tag for tag in mine], {tag: 1 for tag in mine}  ### RPY18: the order of the set `mine` ### RPY18: the order of the set `mine`
    unordered = {tag for tag in mine}, sum(1 for tag in mine), sorted(mine)
    joined = ", ".join(mine), list(set(other)), f"{mine}"  ### RPY18: the order of the set `mine` ### RPY18: the order of the set `set(other)` ### RPY18: the order of the set `mine`
    return print_all(*mine)  ### RPY18: the order of the set `mine`


def print_all(*args: str) -> None: ...


@workflow("floats", version=1)
def floats(ticket: Ticket, ratio: float, amount: object) -> Flow[object]:
    yield from Log(f"{ratio}")  ### RPY20: `ratio` is written as a float
    yield from Log(f"{ticket.weight:.2f}")  ### RPY20: `ticket.weight` is written
    yield from Log(f"{amount:.2f}")  ### RPY20: `amount` is written
    yield from Log("%.2f" % amount)  ### RPY20: `amount` is written
    yield from Log(f"{1 / 3}")  ### RPY20: `1 / 3` is written
    yield from Log(f"{ticket.price:.2f} {len('x'):05d} {ticket.number:>10}")


@workflow("handlers", version=1)
def handlers(name: str) -> Flow[object]:
    try:
        yield from Log(name)
    except:  ### RPY21: `except:` swallows the cancellation
        pass
    try:
        yield from Log(name)
    except (ValueError, BaseException):  ### RPY21: `except (ValueError, BaseException)` swallows
        return 1
    try:
        yield from Log(name)
    except Exception:
        return 2


def with_default(name: str, seen: list[str] = []) -> str:  ### RPY22: the default `[]` is one object
    return name


@workflow("defaults", version=1)
def defaults(name: str, more: dict[str, str] = dict()) -> Flow[object]:  ### RPY22: the default `dict()` is one
    yield from Log(with_default(name))


@workflow("objects", version=1)
def objects(name: str, stamped: Stamped) -> Flow[object]:
    yield from Log(name)
    fresh = Fresh(name)  ### RPY11: `Fresh` has a field made by `uuid4`
    mine = Stamped(name)
    mine.later()
    return stamped.age
