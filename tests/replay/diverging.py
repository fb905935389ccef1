"""Pairs of workflows, before and after a change; `transcripts/divergence.txt` names them by line."""

from __future__ import annotations

from typing import Any

from raftoral import (
    Call,
    Callback,
    Checkpoint,
    Compute,
    Flow,
    Log,
    Now,
    Parallel,
    Race,
    Receive,
    Restart,
    Sleep,
    WorkflowFailed,
    scope,
)


def act(*args: Any, **kwargs: Any) -> Any:
    """Give back the first argument."""
    return args[0] if args else None


def other(*args: Any) -> Any:
    """Give back the first argument, under another name."""
    return args[0]


ORDER = {"id": "o-1", "items": [{"sku": "tea", "price": 450}, {"sku": "cup", "price": 100}]}


# What was recorded, where a case has no `..._before` of its own.
def before() -> Flow[Any]:
    """Take an order."""
    status = yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    paid = yield from Compute("charge", act, held, 30)
    yield from status.set("paid")
    sent = yield from Compute("ship", act, "o-1")
    yield from Sleep("1h", key="rest")
    yield from Log("done")
    return [paid, sent]


def unchanged() -> Flow[Any]:
    """Do the same, written otherwise."""
    status = yield from Checkpoint("status", "new")
    paid = yield from Compute("charge", act, (yield from Compute("reserve", act, "o-1")), 30)
    yield from status.set("paid")
    sent = yield from Compute("ship", act, "o-1")
    yield from Sleep("2h", key="rest")
    yield from Log("done")
    return [paid, sent]


def inserted() -> Flow[Any]:
    """Look for fraud first."""
    status = yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    yield from Compute("fraud", other, "o-1")
    paid = yield from Compute("charge", act, held, 30)
    yield from status.set("paid")
    return paid


def inserted_log() -> Flow[Any]:
    """Write a line more, which needs no answer: all that follows is told."""
    yield from Log("begin")
    yield from before()


def removed() -> Flow[Any]:
    """Leave the charge out."""
    status = yield from Checkpoint("status", "new")
    yield from Compute("reserve", act, "o-1")
    yield from status.set("paid")
    sent = yield from Compute("ship", act, "o-1")
    yield from Sleep("1h", key="rest")
    yield from Log("done")
    return [sent]


def moved() -> Flow[Any]:
    """Charge last."""
    status = yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    yield from status.set("paid")
    sent = yield from Compute("ship", act, "o-1")
    paid = yield from Compute("charge", act, held, 30)
    yield from Sleep("1h", key="rest")
    yield from Log("done")
    return [paid, sent]


def renamed() -> Flow[Any]:
    """Call the charge a payment."""
    status = yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    paid = yield from Compute("payment", act, held, 30)
    yield from status.set("paid")
    sent = yield from Compute("ship", act, "o-1")
    yield from Sleep("1h", key="rest")
    yield from Log("done")
    return [paid, sent]


def renamed_and_changed() -> Flow[Any]:
    """Call it almost the same, and pay more."""
    yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    return (yield from Compute("charge2", act, held, 35))


def arguments() -> Flow[Any]:
    """Pay more, in another way."""
    status = yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    paid = yield from Compute("charge", act, held, 35, currency="EUR")
    yield from status.set("paid")
    sent = yield from Compute("ship", act, "o-1")
    yield from Sleep("1h", key="rest")
    yield from Log("done")
    return [paid, sent]


def deep_before() -> Flow[Any]:
    """Record something deep."""
    return (yield from Checkpoint("order", ORDER)).value


def deep() -> Flow[Any]:
    """Record it with two values changed, one gone and one more."""
    items = [{"sku": "tea", "price": 455, "note": "green"}, {"price": 100}]
    return (yield from Checkpoint("order", {"id": "o-2", "items": items})).value


def long_before() -> Flow[Any]:
    """Call with much."""
    return (yield from Compute("long", len, "x" * 500))


def long() -> Flow[Any]:
    """Call with something else of that size."""
    return (yield from Compute("long", len, "y" * 500))


def activity() -> Flow[Any]:
    """Call another activity."""
    yield from Checkpoint("status", "new")
    return (yield from Compute("reserve", other, "o-1"))


def kind() -> Flow[Any]:
    """Wait for a signal where an activity was called."""
    yield from Checkpoint("status", "new")
    return (yield from Checkpoint("reserve", 1)).value


def returned() -> Flow[Any]:
    """Return early."""
    yield from Checkpoint("status", "new")
    held = yield from Compute("reserve", act, "o-1")
    return held


def fails() -> Flow[Any]:
    """Fail where the run went on."""
    yield from Checkpoint("status", "new")
    raise WorkflowFailed("NoStock", "none left")


def goes_on() -> Flow[Any]:
    """Do one thing more at the end."""
    result = yield from before()
    yield from Compute("thank", act, "o-1")
    return result


def result() -> Flow[Any]:
    """Return something else."""
    found = yield from before()
    return {"paid": found[0]}


def step(name: str) -> Flow[Any]:
    """Do a step and another one."""
    one = yield from Compute("one", act, name)
    return (yield from Compute("two", act, one))


def step_with_more(name: str) -> Flow[Any]:
    """Do a step between the two."""
    one = yield from Compute("one", act, name)
    yield from Compute("more", act, one)
    return (yield from Compute("two", act, one))


def branch_before() -> Flow[Any]:
    """Do two things at once."""
    return (yield from Parallel("both", left=step("l"), right=step("r")))


def branch() -> Flow[Any]:
    """Change one of them."""
    return (yield from Parallel("both", left=step("l"), right=step_with_more("r")))


def branches() -> Flow[Any]:
    """Do three things at once."""
    return (yield from Parallel("both", left=step("l"), right=step("r"), middle=step("m")))


branches_before = branch_before


def waits_before() -> Flow[Any]:
    """Wait for many things."""
    now = yield from Now()
    answer = yield from Receive("answer", str).timeout("1h")
    first = yield from Race("first", Sleep("1m"), Receive("never"))
    pending = yield from Callback("ask", str).timeout("1m")
    try:
        yield from pending.wait()
    except WorkflowFailed:
        yield from Log("nobody")
    with scope("again"):
        yield from Restart(now, answer, first.index)


def waits() -> Flow[Any]:
    """Wait for them without the race."""
    now = yield from Now()
    answer = yield from Receive("answer", str).timeout("1h")
    pending = yield from Callback("ask", str).timeout("1m")
    try:
        yield from pending.wait()
    except WorkflowFailed:
        yield from Log("nobody")
    with scope("again"):
        yield from Restart(now, answer, 0)


def child(n: int) -> Flow[Any]:
    """Be a child."""
    return (yield from Compute("x", act, n))


def kid_before() -> Flow[Any]:
    """Call a child."""
    return (yield from Call("kid", "child", 1).at(1))


def kid() -> Flow[Any]:
    """Call it with something else."""
    return (yield from Call("kid", "child", 2).at(1))
