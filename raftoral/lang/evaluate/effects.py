"""Statements that are one effect: closures that make it, and what takes its answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from raftoral.errors import WorkflowFailed
from raftoral.lang.boundary import Misfit
from raftoral.lang.evaluate.expressions import nothing
from raftoral.lang.evaluate.frames import (
    FLOW,
    STEP,
    Sound,
    beside,
    bounded,
)
from raftoral.lang.ir import damaged
from raftoral.replay.effects import (
    Call,
    Callback,
    Checkpoint,
    Compute,
    Invocation,
    Log,
    Options,
    Pending,
    Receive,
    Restart,
    RetryPolicy,
    Sleep,
    SleepUntil,
    Start,
    Update,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.evaluate.frames import Flow, Frame, Pure, Steps
    from raftoral.lang.evaluate.program import Compiler
    from raftoral.lang.ir import Node
    from raftoral.replay.effects import Effect

KEY_MAX: Final = 200

T = TypeVar("T")


class Waiting(NamedTuple):
    """A callback that is open, and the type of what completes it."""

    pending: Pending[Any]
    kind: Node


def statement(c: Compiler, node: Node) -> tuple[int, Any, Any]:
    """Return kind, closure and what takes the answer, of a statement that is one effect."""
    expr = c.expr
    match node:
        case ["checkpoint", slot, name, value]:
            return STEP, checkpoint(name, expr(value)), store(slot)
        case ["set", slot, value]:
            return STEP, set_cell(slot, expr(value)), None
        case ["compute", slot, key, activity, args, clauses, undo]:
            accept = None if slot is None else store(slot)
            return STEP, compute(c, slot, key, activity, args, clauses, undo), accept
        case ["call", slot, key, name, version, pairs]:
            made = _given(c, pairs)
            take = _decode_into(c, slot, c.results[name, version], f"workflow {name}")
            return STEP, lambda f: Call(key, name, **made(f)).at(version), take
        case ["start", slot, key, name, version, pairs, close]:
            made = _given(c, pairs)
            accept = None if slot is None else store(slot)
            return STEP, lambda f: Start(key, name, **made(f)).at(version).on_close(close), accept
        case ["restart", pairs]:
            made = _given(c, pairs)
            return STEP, lambda f: Restart(**made(f)), None
        case ["callback", slot, name, kind, timeout, heartbeat]:
            return STEP, callback(name, c.maybe(timeout), c.maybe(heartbeat)), opened(slot, kind)
        case ["sleep", value]:
            pause = expr(value)
            return STEP, lambda f: Sleep(pause(f)), None
        case ["until", value]:
            moment = expr(value)
            return STEP, lambda f: SleepUntil(moment(f)), None
        case ["log", value]:
            line = expr(value)
            return STEP, lambda f: Log(line(f)), None
        case ["await", _, source]:
            return STEP, *wait(c, source)
        case ["receive", slot, name, timeout, block]:
            return receive(c, slot, name, expr(timeout), block)
        case _:
            raise damaged(f"statement {node[0]!r:.30}")


def store(slot: int) -> Callable[[Frame, Any], None]:
    """Return what puts an answer into a slot."""

    def accept(f: Frame, answer: Any) -> None:
        f[slot] = answer

    return accept


def _decode_into(
    c: Compiler, slot: int | None, kind: Node, what: str
) -> Callable[[Frame, Any], None]:
    """Return what puts an answer into a slot once it fits its declared type."""

    def accept(f: Frame, answer: Any) -> None:
        try:
            value = c.decoder.value(answer, kind, "result")
        except Misfit as misfit:
            raise WorkflowFailed("BadResult", f"{what}: {misfit}") from None
        if slot is not None:
            f[slot] = value

    return accept


def positive(span: timedelta, what: str = "a timeout") -> timedelta:
    """Refuse a limit that is over before it begins."""
    if span <= timedelta(0):
        raise WorkflowFailed("OutOfRange", f"{what} is longer than nothing")
    return span


# ------------------------------------------------------------------ cells
def checkpoint(name: str, value: Pure) -> Pure:
    """Return what makes the first record of a cell."""

    def step(f: Frame) -> Checkpoint[Any]:
        first = value(f)
        bounded(first)
        return Checkpoint(name, first, Any)

    return step


def set_cell(slot: int, value: Pure) -> Pure:
    """Return what records the next value of a cell."""

    def step(f: Frame) -> Effect[Any]:
        following = value(f)
        bounded(following)
        effect: Effect[Any] = f[slot].set(following)
        return effect

    return step


# ------------------------------------------------------------------ activities
def compute(
    c: Compiler,
    slot: int | None,
    key: str | None,
    activity: str,
    args: Node,
    clauses: Node,
    undo: Node | None,
) -> Pure:
    """Return what makes a `Compute`."""
    made = options(c, clauses)
    invoked = _invocation(c, activity, args)
    if undo is None:
        return lambda f: Compute.of(key, invoked(f), made(f))
    name, undo_args, undo_clauses = undo
    back = _invocation(c, name, undo_args)
    back_options = options(c, undo_clauses)

    def step(f: Frame) -> Compute[Any]:
        def taken_back(result: Any) -> Compute[Any]:
            # Once the step is done, so that its result is among the values.
            if slot is not None:
                f[slot] = result
            with Sound(f[0]):
                return Compute.of(None, back(f), back_options(f))

        return Compute.of(key, invoked(f), made(f)).undone_by(taken_back)

    return step


def _invocation(c: Compiler, activity: str, args: Node) -> Callable[[Frame], Invocation]:
    parts = [c.expr(arg) for arg in args]

    def make(f: Frame) -> Invocation:
        values = tuple([part(f) for part in parts])
        for value in values:
            bounded(value)
        return Invocation(activity, values, (), None)

    return make


def options(c: Compiler, clauses: Node) -> Callable[[Frame], Options]:
    """Return what makes the options of a `Compute`."""
    policy, timeout, deadline, heartbeat, key, once = clauses
    parts = [c.maybe(one) for one in (timeout, deadline, heartbeat)]
    make_policy = _policy(c, policy)
    token = c.maybe(key)
    if policy is None and token is None and not once and not any(parts):
        plain = Options()
        return lambda f: plain
    words = ("a timeout", "a deadline", "a heartbeat")

    def make(f: Frame) -> Options:
        within, by, silence = [
            None if part is None else positive(part(f), word)
            for part, word in zip(parts, words, strict=True)
        ]
        own = None if token is None else _own_key(token(f))
        return Options(make_policy(f), within, by, silence, once, own)

    return make


def _own_key(text: str) -> str:
    if not 1 <= len(text) <= KEY_MAX or "/" in text or not text.isprintable():
        raise WorkflowFailed(
            "BadKey", f"an idempotency key has 1 to {KEY_MAX} printable characters and no `/`"
        )
    return text


def _policy(c: Compiler, policy: Node | None) -> Callable[[Frame], RetryPolicy]:
    if policy is None:
        once = RetryPolicy()
        return lambda f: once
    attempts, first, longest, factor, jitter, only = policy
    if first is None:
        fixed = RetryPolicy(
            attempts, factor_percent=factor, jitter_percent=jitter, only=tuple(only)
        )
        return lambda f: fixed
    from_, to = c.expr(first), c.expr(longest)
    names = tuple(only)
    return lambda f: RetryPolicy(
        attempts, _is(from_(f), timedelta), _is(to(f), timedelta), factor, jitter, names
    )


def _is(value: T, kind: type[T]) -> T:
    """Refuse what the engine would stumble over only later, outside of the program."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


# ------------------------------------------------------------------ children
def _given(c: Compiler, pairs: Node) -> Callable[[Frame], dict[str, Any]]:
    parts = [(name, c.expr(value)) for name, value in pairs]

    def make(f: Frame) -> dict[str, Any]:
        given = {name: part(f) for name, part in parts}
        bounded(given)
        return given

    return make


# ------------------------------------------------------------------ whoever is outside
def callback(name: str, timeout: Pure | None, heartbeat: Pure | None) -> Pure:
    """Return what opens a callback."""

    def step(f: Frame) -> Callback[Any]:
        effect: Callback[Any] = Callback(name)
        if timeout is not None:
            effect = effect.timeout(positive(timeout(f)))
        if heartbeat is not None:
            effect = effect.heartbeat(positive(heartbeat(f), "a heartbeat"))
        return effect

    return step


def opened(slot: int, kind: Node) -> Callable[[Frame, Any], None]:
    """Return what keeps an open callback."""

    def accept(f: Frame, answer: Pending[Any]) -> None:
        f[slot] = Waiting(answer, kind)

    return accept


def wait(c: Compiler, source: Node) -> tuple[Pure, Callable[[Frame, Any], None] | None]:
    """Return what waits for a signal, an update or a callback, and what takes what comes."""
    match source:
        case ["signal", name, slot]:
            return lambda f: Receive(name), None if slot is None else store(slot)
        case ["update", name, slot, answer]:
            return update(name, slot, c.maybe(answer)), store(slot)
        case ["callback", place, slot]:
            return lambda f: f[place].pending.wait(), _completed(c, place, slot)
        case _:
            raise AssertionError(f"decode admits no source {source!r:.40}")


def _completed(c: Compiler, place: int, slot: int | None) -> Callable[[Frame, Any], None]:
    def accept(f: Frame, answer: Any) -> None:
        waiting: Waiting = f[place]
        _decode_into(c, slot, waiting.kind, "callback")(f, answer)

    return accept


def update(name: str, slot: int, answer: Pure | None) -> Pure:
    """Return what takes a request and answers it; what the answer fails with refuses it."""

    def step(f: Frame) -> Update[Any]:
        def handler(value: Any) -> Any:
            # Only the owner asks, so nothing of the run itself may change by it.
            own = beside(f)
            own[slot] = value
            if answer is None:
                return None
            with Sound(own[0]):
                return answer(own)

        return Update(name, handler=handler)

    return step


def receive(
    c: Compiler, slot: int | None, name: str, within: Pure, block: Node | None
) -> tuple[int, Any, Any]:
    """Return an `await` with a timeout, with or without an `else`."""
    accept = None if slot is None else store(slot)

    def step(f: Frame) -> Receive[Any]:
        return Receive(name).timeout(positive(within(f)))

    if block is None:
        return STEP, step, _or_timeout(name, accept)
    in_time, otherwise = c.noting.way(0, nothing), c.noting.way(1, c.flow(block))
    return FLOW, _receive_or(step, accept, in_time, otherwise), None


def _or_timeout(
    name: str, accept: Callable[[Frame, Any], None] | None
) -> Callable[[Frame, Any], None]:
    """Return what takes a signal, and fails if none came in time."""

    def take(f: Frame, answer: Any) -> None:
        if answer is None:
            raise WorkflowFailed("Timeout", f"no signal {name} came in time")
        if accept is not None:
            accept(f, answer)

    return take


def _receive_or(
    step: Callable[[Frame], Receive[Any]],
    accept: Callable[[Frame, Any], None] | None,
    in_time: Pure,
    otherwise: Flow,
) -> Flow:
    """Return the flow of an `await` with an `else`."""

    def run(f: Frame) -> Steps:
        meter = f[0]
        effect = step(f)
        meter.left = meter.limit
        answer = yield effect
        if accept is not None:
            accept(f, answer)
        if answer is None:
            return (yield from otherwise(f))
        in_time(f)
        return None

    return run
