# ruff: noqa: DTZ001, PTH109, PTH110, PTH118, PTH123 - it uses what a workflow may not use
"""A module of workflows that use what they may not; read by `test_guard.py`, with the lint off."""

from __future__ import annotations

import functools
import os
import pickle
import random
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from os import environ, getenv, path
from pathlib import Path
from random import randint
from time import monotonic
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from raftoral import Compute, Flow, Log, workflow

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 3
now = datetime.now


@dataclass(frozen=True)
class Item:
    """A class of data."""

    name: str


def noisy(name: str) -> float:
    """An activity by use: it reads a clock, as it may."""
    return time.monotonic() + len(name)


def helper(name: str) -> float:
    """A helper that a workflow calls."""
    return time.monotonic()


def flow_helper(name: str) -> Flow[float]:
    """A helper that yields."""
    yield from Log(name)
    return helper(name)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function, as applications do."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        wrapper.calls += 1  # type: ignore[attr-defined]
        return (yield from function(*args, **kwargs))

    wrapper.calls = 0  # type: ignore[attr-defined]
    return wrapper


@workflow("uses", version=1)
def uses(what: str) -> Flow[Any]:
    """Use one forbidden thing."""
    yield from Log(what)
    match what:
        case "time.time":
            return time.time()
        case "time.monotonic":
            return monotonic()
        case "random.random":
            return random.random()
        case "random.randint":
            return randint(1, 6)
        case "random.Random":
            return random.Random(1)
        case "uuid.uuid4":
            return (uuid4(), uuid.uuid4())
        case "os.getenv":
            return getenv("HOME")
        case "os.environ":
            return environ["HOME"]
        case "os.path.exists":
            return path.exists("/")
        case "os.getcwd":
            return os.getcwd()
        case "datetime.datetime.now":
            return now()
        case "threading.Thread":
            return threading.Thread()
        case "pathlib.Path":
            return Path("/")
        case "open":
            return open("/")
        case "print":
            return print("x")
        case "id":
            return id(what)
        case "hash":
            return hash(what)
        case "time.sleep":
            import time as clock

            return clock.sleep(0)
        case "time.ctime":
            from time import ctime

            return ctime()


@workflow("helpers", version=1)
def helpers(which: str) -> Flow[Any]:
    """Go through helpers of the module."""
    if which == "plain":
        yield from Log("x")
        return helper(which)
    if which == "inner":

        def inner() -> float:
            return time.monotonic()

        yield from Log("x")
        return inner()
    return (yield from flow_helper(which))


@workflow("decorated", version=1)
@logged
def decorated(name: str) -> Flow[Any]:
    """Run under a decorator of the application."""
    yield from Log(name)
    return time.time()


@workflow("fine", version=1)
def fine(name: str) -> Flow[Any]:
    """Do everything that a guard could break by mistake."""
    item = Item(name)
    yield from Compute("noisy", noisy, name)
    copy = pickle.loads(pickle.dumps(item))
    kinds = [
        isinstance(item, Item),
        isinstance(helper, FunctionType),
        isinstance(time, ModuleType),
        not isinstance("x", Path),
        isinstance(path, ModuleType),
        copy == item,
        path.join("a", "b") == "a/b",
        os.sep == "/",
        uuid.UUID(int=1).int == 1,
        datetime(2026, 1, 1) < datetime(2026, 1, 2),
        type(datetime(2026, 1, 1)) is datetime,
        helper.__name__ == "helper" and helper.__module__ == __name__,
        "monotonic" in dir(time),
        RATE == 3,
    ]
    match item:
        case Item(name="x"):
            kinds.append(True)
        case _:
            kinds.append(False)
    try:
        raise time_error()
    except TimeoutError:
        kinds.append(True)
    return kinds


def time_error() -> Exception:
    """Return an error."""
    return TimeoutError()


def counter() -> Callable[[], int]:
    """Return a closure."""
    count = 0

    def add() -> int:
        nonlocal count
        count += 1
        return count

    return add


add = counter()


@workflow("closure", version=1)
def closure(name: str) -> Flow[int]:
    """Use a closure of the module, whose cell both share."""
    yield from Log(name)
    return add()


@workflow("allowed", version=1)
def allowed(name: str) -> Flow[float]:
    """Use a clock where a comment allows it."""
    yield from Log(name)
    return time.monotonic()  # raftoral: allow RPY10 because the test is about the comment


@workflow("changes", version=1)
def changes(name: str) -> Flow[None]:
    """Change a module, and a global."""
    global RATE
    yield from Log(name)
    if name == "module":
        time.time = None  # type: ignore[assignment]
    RATE = 4


@workflow("stops", version=1)
def stops(name: str) -> Flow[str]:
    """Stop in the debugger."""
    text = name.upper()
    breakpoint()
    yield from Log(text)
    return text
