"""IR to a generator of effects: the same that a Python workflow yields.

A program is turned once into nested closures (no code is generated or executed as text); a run is a
generator over them. Expressions and pure statements are plain functions; a statement that yields is
a generator. Every pure step costs fuel, which an effect refills; without fuel the run fails with
``FuelExhausted``, on every node at the same step.

A frame is a list: the meter first, then the slots of the variables. Values are never changed in
place.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from raftoral.errors import CorruptionError, RaftoralError, WorkflowFailed
from raftoral.lang.ir import Node, Unit, decode, decode_value
from raftoral.lang.primitives import BULK, PRIMITIVES, same
from raftoral.replay.effects import (
    Call,
    Checkpoint,
    Compute,
    Effect,
    Log,
    Receive,
    RetryPolicy,
    Sleep,
    SleepUntil,
    scope,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from raftoral.values import Value

Frame: TypeAlias = "list[Any]"
Pure: TypeAlias = "Callable[[Frame], Any]"
Steps: TypeAlias = "Generator[Effect[Any], Any, int | None]"
Flow: TypeAlias = "Callable[[Frame], Steps]"

NODES_MAX: Final = 256 * 1024
"""A value with more parts than this cannot be stored, since each part takes a byte."""

_BREAK, _CONTINUE, _RETURN = 1, 2, 3
_PURE, _STEP, _FLOW = 0, 1, 2

_DEFAULT = RetryPolicy()


class _Exhausted(Exception):
    """No fuel is left. Not a `WorkflowFailed`, so that no `catch` and no `finally` sees it."""


class _Meter:
    """What one run counts: fuel, where it stands, and the value of the last `return`."""

    __slots__ = ("at", "left", "limit", "result")

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit
        self.at = -1
        self.result: Any = None

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise _Exhausted


# ------------------------------------------------------------------ a run
class Evaluation:
    """One run of a program: its generator, and what a debugger may ask.

    ``generator`` yields effects, takes their answers by ``send`` and failures by ``throw``, and
    returns the result. A failure that nothing catches leaves it as `WorkflowFailed`.
    """

    floats = False  # The language has none.

    def __init__(self, program: Program, values: dict[str, Value]) -> None:
        unit = program.unit
        self._unit = unit
        self._meter = _Meter(unit.fuel)
        self._frame: Frame = [self._meter, *[None] * unit.slots]
        for slot, field in enumerate(unit.inputs, 1):
            self._frame[slot] = values[field[0]]
        self.generator: Generator[Effect[Any], Any, Value] = _run(program.body, self._frame)

    def __iter__(self) -> Generator[Effect[Any], Any, Value]:
        """Return the generator, so that Python workflows can ``yield from`` an evaluation."""
        return self.generator

    @property
    def span(self) -> tuple[int, int]:
        """Line and column of the statement it stands at; (0, 0) before the first one."""
        at = self._meter.at
        return (0, 0) if at < 0 else (self._unit.spans[2 * at], self._unit.spans[2 * at + 1])

    @property
    def line(self) -> int:
        """The line of the statement it stands at; 0 before the first one."""
        return self.span[0]

    def where(self) -> tuple[str, int]:
        """Return the name of the source and the line it stands at."""
        return self._unit.path, self.line

    def variables(self) -> dict[str, object]:
        """Return the variables that are in sight there; a checkpoint by its recorded value."""
        at = max(self._meter.at, 0)
        found = {}
        for name, slot, is_cell, first, last in self._unit.variables:
            if first <= at <= last:
                value = self._frame[slot]
                found[name] = _visible(getattr(value, "value", None) if is_cell else value)
        return found


def _visible(value: Any) -> object:
    """Return a value as a debugger shows it: an error as its name, message and fields."""
    if isinstance(value, WorkflowFailed):
        return {"name": value.name, "message": value.message, **value.details}
    return value


def start(data: bytes, values: Value) -> Evaluation:
    """Return a run of the stored program with an input that `convert.decode_input` made.

    Raises `CorruptionError` for damaged bytes or an input that lacks a name.
    """
    program = load(data)
    if not isinstance(values, dict) or any(f[0] not in values for f in program.unit.inputs):
        raise CorruptionError(f"the stored input does not fit workflow {program.unit.name}")
    return Evaluation(program, values)


def _run(body: Flow, frame: Frame) -> Generator[Effect[Any], Any, Value]:
    meter: _Meter = frame[0]
    try:
        signal = yield from body(frame)
        if signal != _RETURN:
            return None
        result: Value = meter.result
        _bounded(result)
        return result
    except _Exhausted:
        raise WorkflowFailed(
            "FuelExhausted", f"{meter.limit:,} pure steps without an effect, in line of no end"
        ) from None
    except (TypeError, AttributeError, LookupError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the program does not fit its own types: {error}") from None


def _bounded(value: Any) -> None:
    """Refuse a value with too many parts before anyone walks through all of them."""
    kind = type(value)
    if kind is not list and kind is not dict:
        return
    count = 0
    todo = [value]
    while todo:
        one = todo.pop()
        count += len(one)
        if count > NODES_MAX:
            raise WorkflowFailed("TooLarge", f"a value may have {NODES_MAX:,} parts")
        inner = one.values() if type(one) is dict else one
        todo.extend(item for item in inner if type(item) is list or type(item) is dict)


# ------------------------------------------------------------------ a program
class Program:
    """A checked program, ready to run any number of times."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.body: Flow = _Compiler(unit).workflow()


@functools.lru_cache(maxsize=512)
def load(data: bytes) -> Program:
    """Return the program of stored bytes; the last 512 are kept."""
    return Program(decode(data))


def constant_value(node: Node) -> Value:
    """Return the value of an expression without variables."""
    try:
        value: Value = _expression(node, [])([_Meter(100_000)])
    except _Exhausted:
        raise WorkflowFailed("FuelExhausted", "too many steps for a constant") from None
    return value


# ------------------------------------------------------------------ expressions
class _Function:
    """A pure function; its body is put in once it is compiled."""

    __slots__ = ("body", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.body: Pure = _nothing

    def __call__(self, meter: _Meter, args: list[Any]) -> Any:
        meter.spend(1)
        frame: Frame = [meter, *args, *[None] * (self.slots - len(args))]
        return meter.result if self.body(frame) == _RETURN else None


def _nothing(_: Frame) -> None:
    return None


def _expression(node: Node, functions: list[_Function]) -> Pure:
    """Return the closure of one expression."""

    def inner(child: Node) -> Pure:
        return _expression(child, functions)

    match node:
        case ["const", plain]:
            value = decode_value(plain)
            return lambda f: value
        case ["local", slot]:
            return lambda f: f[slot]
        case ["cell", slot]:
            return lambda f: f[slot].value
        case ["field", ["local", slot], name]:
            return lambda f: f[slot][name]
        case ["field", base, name]:
            of = inner(base)
            return lambda f: of(f)[name]
        case ["maybe", base, name]:
            of = inner(base)
            return lambda f: None if (record := of(f)) is None else record[name]
        case ["error_field", base, name]:
            return _error_field(inner(base), name)
        case ["is_none", operand]:
            of = inner(operand)
            return lambda f: of(f) is None
        case ["not", operand]:
            of = inner(operand)
            return lambda f: not of(f)
        case ["and", left, right]:
            a, b = inner(left), inner(right)
            return lambda f: a(f) and b(f)
        case ["or", left, right]:
            a, b = inner(left), inner(right)
            return lambda f: a(f) or b(f)
        case ["if", condition, then, otherwise]:
            c, a, b = inner(condition), inner(then), inner(otherwise)
            return lambda f: a(f) if c(f) else b(f)
        case ["otherwise", left, right]:
            a, b = inner(left), inner(right)
            return lambda f: b(f) if (value := a(f)) is None else value
        case ["list", items]:
            parts = [inner(item) for item in items]
            return lambda f: [part(f) for part in parts]
        case ["map", pairs]:
            entries = [(key, inner(value)) for key, value in pairs]
            return lambda f: {key: of(f) for key, of in entries}
        case ["update", base, pairs]:
            of = inner(base)
            entries = [(key, inner(value)) for key, value in pairs]
            return lambda f: of(f) | {key: one(f) for key, one in entries}
        case ["each", slot, source, condition, item]:
            test = None if condition is None else inner(condition)
            return _each(slot, inner(source), test, inner(item))
        case ["do", primitive, args]:
            return _primitive(primitive, [inner(arg) for arg in args])
        case ["call", number, args]:
            return _call(functions[number], [inner(arg) for arg in args])
        case ["error", name, message, pairs]:
            return _error(name, inner(message), [(key, inner(value)) for key, value in pairs])
        case _:
            raise CorruptionError(f"unknown expression {node[0]!r:.30}")


def _primitive(name: str, args: list[Pure]) -> Pure:
    function = PRIMITIVES[name][1]
    if name in BULK:

        def bulk(f: Frame) -> Any:
            values = [arg(f) for arg in args]
            f[0].spend(sum(map(_weight, values)))
            return function(*values)

        return bulk
    match args:
        case [a]:
            return lambda f: function(a(f))
        case [a, b]:
            return lambda f: function(a(f), b(f))
        case _:
            return lambda f: function(*[arg(f) for arg in args])


def _weight(value: Any) -> int:
    kind = type(value)
    if kind is str:
        return len(value) >> 6
    return len(value) if kind is list or kind is dict else 0


def _each(slot: int, source: Pure, condition: Pure | None, item: Pure) -> Pure:
    def run(f: Frame) -> list[Any]:
        items = source(f)
        f[0].spend(len(items))
        kept = []
        for one in items:
            f[slot] = one
            if condition is None or condition(f):
                kept.append(item(f))
        return kept

    return run


def _call(function: _Function, args: list[Pure]) -> Pure:
    return lambda f: function(f[0], [arg(f) for arg in args])


def _error(name: str, message: Pure, pairs: list[tuple[str, Pure]]) -> Pure:
    return lambda f: WorkflowFailed(name, message(f), {key: of(f) for key, of in pairs})


def _error_field(base: Pure, name: str) -> Pure:
    if name in ("name", "message", "attempts"):
        return lambda f: getattr(base(f), name)
    # An activity may fail with a name but without the fields that the file declares.
    return lambda f: base(f).details.get(name)


def _failure(value: Any) -> WorkflowFailed:
    """Return the error to raise: a new one each time, so that no traceback is carried along."""
    if type(value) is str:
        return WorkflowFailed("Failed", value)
    assert isinstance(value, WorkflowFailed)
    return WorkflowFailed(value.name, value.message, value.details, attempts=value.attempts)


# ------------------------------------------------------------------ statements
class _Compiler:
    """Turns the statements of one unit into closures; numbers them as the side table does."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.functions: list[_Function] = []
        self.number = 0

    def workflow(self) -> Flow:
        for params, slots, body in self.unit.functions:
            del params
            function = _Function(slots)
            kind, run = self.block(body, count=False)
            assert kind == _PURE, "decode admits no effect in a function"
            function.body = run
            self.functions.append(function)
        self.number = 0
        kind, run = self.block(self.unit.body, count=True)
        return _as_flow(kind, run)

    def expr(self, node: Node) -> Pure:
        return _expression(node, self.functions)

    def block(self, block: Node, *, count: bool) -> tuple[int, Any]:
        """Return whether a block yields, and its closure."""
        steps = []
        for statement in block:
            number = self.number
            self.number += 1
            kind, run, accept = self.statement(statement, count=count)
            steps.append((kind, number, run, accept))
        if any(kind != _PURE for kind, *_ in steps):
            return _FLOW, _flow_block(tuple(steps))
        return _PURE, _pure_block(tuple((n, run) for _, n, run, _ in steps), count=count)

    def statement(self, node: Node, *, count: bool) -> tuple[int, Any, Any]:
        """Return kind, closure and, for an effect, what takes its answer."""
        expr = self.expr
        match node:
            case ["let", slot, value]:
                return _PURE, _let(slot, expr(value)), None
            case ["return", value]:
                return _PURE, _return(expr(value)), None
            case ["fail", error]:
                return _PURE, _fail(expr(error)), None
            case ["require", condition, error]:
                return _PURE, _require(expr(condition), expr(error)), None
            case ["break"]:
                return _PURE, lambda f: _BREAK, None
            case ["continue"]:
                return _PURE, lambda f: _CONTINUE, None
            case ["checkpoint", slot, name, value]:
                return _STEP, _checkpoint(name, expr(value)), _store(slot)
            case ["set", slot, value]:
                return _STEP, _set(slot, expr(value)), None
            case ["compute", slot, key, activity, args, policy, timeout]:
                run = self.compute(key, activity, args, policy, timeout)
                return _STEP, run, None if slot is None else _store(slot)
            case ["sleep", value]:
                return _STEP, _sleep(expr(value)), None
            case ["until", value]:
                return _STEP, _until(expr(value)), None
            case ["log", value]:
                return _STEP, _log(expr(value)), None
            case ["receive", slot, name, timeout, _]:
                return self.receive(node, slot, name, timeout, count=count)
            case ["if", arms, otherwise]:
                return self.choice(arms, otherwise, count=count)
            case ["match", subject, slot, cases]:
                return self.match(expr(subject), slot, cases, count=count)
            case ["for", slot, name, number, source, body]:
                stem = name if number == 0 else f"{name}#{number}"
                kind, run = self.block(body, count=count)
                if kind == _PURE:
                    return kind, _for(slot, expr(source), run), None
                return kind, _for_flow(slot, stem, expr(source), run), None
            case ["while", condition, limit, number, body]:
                kind, run = self.block(body, count=count)
                test, most = expr(condition), expr(limit)
                if kind == _PURE:
                    return kind, _while(test, most, run), None
                return kind, _while_flow(f"while#{number}", test, most, run), None
            case ["try", body, catches, final]:
                return self.guarded(body, catches, final, count=count)
            case _:
                raise CorruptionError(f"unknown statement {node[0]!r:.30}")

    def compute(
        self, key: str | None, activity: str, args: Node, policy: Node | None, timeout: Node | None
    ) -> Pure:
        parts = [self.expr(arg) for arg in args]
        within = None if timeout is None else self.expr(timeout)
        make_policy = self.policy(policy)

        def step(f: Frame) -> Compute[Any]:
            values = tuple([part(f) for part in parts])
            for value in values:
                _bounded(value)
            effect: Compute[Any] = Compute.__new__(Compute)
            effect.key = key
            effect.call = Call(activity, values, (), None)
            effect.policy = make_policy(f)
            effect.within = None if within is None else _positive(within(f))
            return effect

        return step

    def policy(self, policy: Node | None) -> Pure:
        if policy is None:
            return lambda f: _DEFAULT
        attempts, first, longest, factor, jitter, only = policy
        if first is None:
            fixed = RetryPolicy(
                attempts, factor_percent=factor, jitter_percent=jitter, only=tuple(only)
            )
            return lambda f: fixed
        from_, to = self.expr(first), self.expr(longest)
        return lambda f: RetryPolicy(attempts, from_(f), to(f), factor, jitter, tuple(only))

    def receive(
        self, node: Node, slot: int | None, name: str, timeout: Node | None, *, count: bool
    ) -> tuple[int, Any, Any]:
        within = None if timeout is None else self.expr(timeout)
        accept = None if slot is None else _store(slot)
        if within is None:
            return _STEP, lambda f: Receive(name), accept
        if node[4] is None:
            return _STEP, _receive_within(name, within), _or_timeout(name, accept)
        kind, run = self.block(node[4], count=count)
        return _FLOW, _receive_or(name, within, accept, _as_flow(kind, run)), None

    def choice(self, arms: Node, otherwise: Node | None, *, count: bool) -> tuple[int, Any, Any]:
        tests = []
        runs = []
        for condition, body in arms:
            tests.append(self.expr(condition))
            runs.append(self.block(body, count=count))
        last = None if otherwise is None else self.block(otherwise, count=count)
        if all(kind == _PURE for kind, _ in runs) and (last is None or last[0] == _PURE):
            pairs = tuple(zip(tests, [run for _, run in runs], strict=True))
            return _PURE, _if(pairs, _nothing if last is None else last[1]), None
        flows = tuple(zip(tests, [_as_flow(*one) for one in runs], strict=True))
        return _FLOW, _if_flow(flows, None if last is None else _as_flow(*last)), None

    def match(self, subject: Pure, slot: int, cases: Node, *, count: bool) -> tuple[int, Any, Any]:
        tests = []
        runs = []
        for pattern, guard, body in cases:
            tests.append(_pattern(pattern, slot, None if guard is None else self.expr(guard)))
            runs.append(self.block(body, count=count))
        first = _let(slot, subject)
        if all(kind == _PURE for kind, _ in runs):
            choose = _if(tuple(zip(tests, [run for _, run in runs], strict=True)), _nothing)
            return _PURE, lambda f: first(f) or choose(f), None
        flow = _if_flow(tuple(zip(tests, [_as_flow(*one) for one in runs], strict=True)), None)

        def run(f: Frame) -> Steps:
            first(f)
            return flow(f)

        return _FLOW, run, None

    def guarded(
        self, body: Node, catches: Node, final: Node | None, *, count: bool
    ) -> tuple[int, Any, Any]:
        kind, run = self.block(body, count=count)
        handlers = []
        for names, slot, block in catches:
            handler_kind, handler = self.block(block, count=count)
            handlers.append((frozenset(names), slot, _as_flow(handler_kind, handler)))
        flow = _catching(_as_flow(kind, run), tuple(handlers)) if handlers else _as_flow(kind, run)
        if final is not None:
            flow = _finally(flow, _as_flow(*self.block(final, count=count)))
        return _FLOW, flow, None


def _as_flow(kind: int, run: Any) -> Flow:
    """Return the closure of a block as a generator function."""
    if kind == _FLOW:
        flow: Flow = run
        return flow

    def pure(f: Frame) -> Steps:
        yield from ()  # makes it a generator
        signal: int | None = run(f)
        return signal

    return pure


def _pure_block(steps: tuple[tuple[int, Pure], ...], *, count: bool) -> Pure:
    if not count:
        plain = tuple(step for _, step in steps)

        def in_function(f: Frame) -> int | None:
            meter = f[0]
            for step in plain:
                meter.left -= 1
                if meter.left < 0:
                    raise _Exhausted
                signal: int | None = step(f)
                if signal is not None:
                    return signal
            return None

        return in_function

    def run(f: Frame) -> int | None:
        meter = f[0]
        for number, step in steps:
            meter.left -= 1
            if meter.left < 0:
                raise _Exhausted
            meter.at = number
            signal: int | None = step(f)
            if signal is not None:
                return signal
        return None

    return run


def _flow_block(steps: tuple[tuple[int, int, Any, Any], ...]) -> Flow:
    def run(f: Frame) -> Steps:
        meter = f[0]
        for kind, number, step, accept in steps:
            meter.left -= 1
            if meter.left < 0:
                raise _Exhausted
            meter.at = number
            if kind == _STEP:
                effect = step(f)
                meter.left = meter.limit
                answer = yield effect
                if accept is not None:
                    accept(f, answer)
                continue
            signal: int | None = step(f) if kind == _PURE else (yield from step(f))
            if signal is not None:
                return signal
        return None

    return run


# ------------------------------------------------------------------ pure statements
def _let(slot: int, value: Pure) -> Pure:
    def run(f: Frame) -> None:
        f[slot] = value(f)

    return run


def _return(value: Pure) -> Pure:
    def run(f: Frame) -> int:
        f[0].result = value(f)
        return _RETURN

    return run


def _fail(error: Pure) -> Pure:
    def run(f: Frame) -> None:
        raise _failure(error(f))

    return run


def _require(condition: Pure, error: Pure) -> Pure:
    def run(f: Frame) -> None:
        if not condition(f):
            raise _failure(error(f))

    return run


def _if(arms: tuple[tuple[Pure, Pure], ...], otherwise: Pure) -> Pure:
    def run(f: Frame) -> Any:
        for test, block in arms:
            if test(f):
                return block(f)
        return otherwise(f)

    return run


def _for(slot: int, source: Pure, body: Pure) -> Pure:
    def run(f: Frame) -> int | None:
        meter = f[0]
        for item in source(f):
            meter.spend(1)
            f[slot] = item
            signal: int | None = body(f)
            if signal == _BREAK:
                break
            if signal == _RETURN:
                return signal
        return None

    return run


def _while(condition: Pure, limit: Pure, body: Pure) -> Pure:
    def run(f: Frame) -> int | None:
        meter = f[0]
        turns, most = 0, limit(f)
        while condition(f):
            if turns >= most:
                raise _too_many(most)
            turns += 1
            meter.spend(1)
            signal: int | None = body(f)
            if signal == _BREAK:
                break
            if signal == _RETURN:
                return signal
        return None

    return run


def _too_many(most: int) -> WorkflowFailed:
    return WorkflowFailed("LoopLimit", f"the loop may turn {most} times and is not done")


def _pattern(pattern: Node, slot: int, guard: Pure | None) -> Pure:
    """Return the test of one case; a name that it binds is set before the guard is asked."""
    match pattern:
        case ["bind", name]:

            def bind(f: Frame) -> bool:
                f[name] = f[slot]
                return guard is None or bool(guard(f))

            return bind
        case ["is", plain]:
            values = tuple(decode_value(value) for value in plain)

            def test(f: Frame) -> bool:
                subject = f[slot]
                return any(same(subject, value) for value in values) and (
                    guard is None or bool(guard(f))
                )

            return test
        case _:
            return lambda f: guard is None or guard(f)


# ------------------------------------------------------------------ effects
def _store(slot: int) -> Callable[[Frame, Any], None]:
    def accept(f: Frame, answer: Any) -> None:
        f[slot] = answer

    return accept


def _checkpoint(name: str, value: Pure) -> Pure:
    def step(f: Frame) -> Checkpoint[Any]:
        first = value(f)
        _bounded(first)
        return Checkpoint(name, first, Any)

    return step


def _set(slot: int, value: Pure) -> Pure:
    def step(f: Frame) -> Effect[Any]:
        following = value(f)
        _bounded(following)
        effect: Effect[Any] = f[slot].set(following)
        return effect

    return step


def _positive(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise WorkflowFailed("OutOfRange", "a timeout is longer than nothing")
    return span


def _sleep(value: Pure) -> Pure:
    return lambda f: Sleep(value(f))


def _until(value: Pure) -> Pure:
    return lambda f: SleepUntil(value(f))


def _log(value: Pure) -> Pure:
    return lambda f: Log(value(f))


def _receive_within(name: str, within: Pure) -> Pure:
    return lambda f: Receive(name).timeout(_positive(within(f)))


def _or_timeout(
    name: str, accept: Callable[[Frame, Any], None] | None
) -> Callable[[Frame, Any], None]:
    def take(f: Frame, answer: Any) -> None:
        if answer is None:
            raise WorkflowFailed("Timeout", f"no signal {name} came in time")
        if accept is not None:
            accept(f, answer)

    return take


def _receive_or(
    name: str, within: Pure, accept: Callable[[Frame, Any], None] | None, otherwise: Flow
) -> Flow:
    def run(f: Frame) -> Steps:
        meter = f[0]
        effect = Receive(name).timeout(_positive(within(f)))
        meter.left = meter.limit
        answer = yield effect
        if accept is not None:
            accept(f, answer)
        if answer is None:
            return (yield from otherwise(f))
        return None

    return run


# ------------------------------------------------------------------ statements that yield
def _if_flow(arms: tuple[tuple[Pure, Flow], ...], otherwise: Flow | None) -> Flow:
    def run(f: Frame) -> Steps:
        for test, block in arms:
            if test(f):
                return (yield from block(f))
        if otherwise is not None:
            return (yield from otherwise(f))
        return None

    return run


def _for_flow(slot: int, stem: str, source: Pure, body: Flow) -> Flow:
    def run(f: Frame) -> Steps:
        meter = f[0]
        for number, item in enumerate(source(f)):
            meter.spend(1)
            f[slot] = item
            with scope(f"{stem}[{number}]"):
                signal = yield from body(f)
            if signal == _BREAK:
                break
            if signal == _RETURN:
                return signal
        return None

    return run


def _while_flow(stem: str, condition: Pure, limit: Pure, body: Flow) -> Flow:
    def run(f: Frame) -> Steps:
        meter = f[0]
        turns, most = 0, limit(f)
        while condition(f):
            if turns >= most:
                raise _too_many(most)
            meter.spend(1)
            with scope(f"{stem}[{turns}]"):
                signal = yield from body(f)
            turns += 1
            if signal == _BREAK:
                break
            if signal == _RETURN:
                return signal
        return None

    return run


def _catching(body: Flow, handlers: tuple[tuple[frozenset[str], int | None, Flow], ...]) -> Flow:
    def run(f: Frame) -> Steps:
        try:
            return (yield from body(f))
        except WorkflowFailed as failed:
            failure = failed
        # Outside of `except`: what the handler raises has no hidden context.
        for names, slot, handler in handlers:
            if failure.name in names or (not names and failure.name != "Cancelled"):
                if slot is not None:
                    f[slot] = failure
                return (yield from handler(f))
        raise failure

    return run


def _finally(body: Flow, final: Flow) -> Flow:
    def run(f: Frame) -> Steps:
        meter = f[0]
        try:
            signal = yield from body(f)
        except RaftoralError as failed:
            failure = failed
        else:
            result = meter.result
            yield from final(f)
            meter.result = result
            return signal
        yield from final(f)
        raise failure

    return run
