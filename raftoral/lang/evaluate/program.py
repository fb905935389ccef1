"""A checked program as nested closures, made once and run any number of times."""

from __future__ import annotations

import functools
from typing import Any, Final

from raftoral.errors import CorruptionError
from raftoral.lang.evaluate import effects, flows, pure
from raftoral.lang.evaluate.expressions import Function, expression, nothing
from raftoral.lang.evaluate.frames import (
    BREAK,
    CONTINUE,
    FLOW,
    PURE,
    STEP,
    Flow,
    Frame,
    Pure,
    Steps,
    bounded,
)
from raftoral.lang.ir import Node, Unit, decode
from raftoral.replay.effects import (
    Compute,
    Invocation,
    Options,
    Receive,
    RetryPolicy,
)

_ONE_ATTEMPT: Final = RetryPolicy()


class Program:
    """A checked program, ready to run any number of times."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.body: Flow = _Compiler(unit).workflow()


@functools.lru_cache(maxsize=512)
def load(data: bytes) -> Program:
    """Return the program of stored bytes; the last 512 are kept."""
    return Program(decode(data))


class _Compiler:
    """Turns the statements of one unit into closures; numbers them as the side table does."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.functions: list[Function] = []
        self.number = 0

    def workflow(self) -> Flow:
        for params, slots, body in self.unit.functions:
            del params
            function = Function(slots)
            kind, run = self.block(body, count=False)
            assert kind == PURE, "decode admits no effect in a function"
            function.body = run
            self.functions.append(function)
        self.number = 0
        kind, run = self.block(self.unit.body, count=True)
        return flows.as_flow(kind, run)

    def expr(self, node: Node) -> Pure:
        return expression(node, self.functions)

    def block(self, block: Node, *, count: bool) -> tuple[int, Any]:
        """Return whether a block yields, and its closure."""
        steps = []
        for statement in block:
            number = self.number
            self.number += 1
            kind, run, accept = self.statement(statement, count=count)
            steps.append((kind, number, run, accept))
        if any(kind != PURE for kind, *_ in steps):
            return FLOW, flows.flow_block(tuple(steps))
        return PURE, flows.pure_block(tuple((n, run) for _, n, run, _ in steps), count=count)

    def statement(self, node: Node, *, count: bool) -> tuple[int, Any, Any]:
        """Return kind, closure and, for an effect, what takes its answer."""
        expr = self.expr
        match node:
            case ["let", slot, value]:
                return PURE, pure.let(slot, expr(value)), None
            case ["return", value]:
                return PURE, pure.return_(expr(value)), None
            case ["fail", error]:
                return PURE, pure.fail(expr(error)), None
            case ["require", condition, error]:
                return PURE, pure.require(expr(condition), expr(error)), None
            case ["break"]:
                return PURE, lambda f: BREAK, None
            case ["continue"]:
                return PURE, lambda f: CONTINUE, None
            case ["checkpoint", slot, name, value]:
                return STEP, effects.checkpoint(name, expr(value)), effects.store(slot)
            case ["set", slot, value]:
                return STEP, effects.set_cell(slot, expr(value)), None
            case ["compute", slot, key, activity, args, policy, timeout]:
                run = self.compute(key, activity, args, policy, timeout)
                return STEP, run, None if slot is None else effects.store(slot)
            case ["sleep", value]:
                return STEP, effects.sleep(expr(value)), None
            case ["until", value]:
                return STEP, effects.until(expr(value)), None
            case ["log", value]:
                return STEP, effects.log(expr(value)), None
            case ["receive", slot, name, timeout, _]:
                return self.receive(node, slot, name, timeout, count=count)
            case ["if", arms, otherwise]:
                return self.choice(arms, otherwise, count=count)
            case ["match", subject, slot, cases]:
                return self.match(expr(subject), slot, cases, count=count)
            case ["for", slot, name, number, source, body]:
                stem = name if number == 0 else f"{name}#{number}"
                kind, run = self.block(body, count=count)
                if kind == PURE:
                    return kind, pure.for_(slot, expr(source), run), None
                return kind, flows.for_flow(slot, stem, expr(source), run), None
            case ["while", condition, limit, number, body]:
                kind, run = self.block(body, count=count)
                test, most = expr(condition), expr(limit)
                if kind == PURE:
                    return kind, pure.while_(test, most, run), None
                return kind, flows.while_flow(f"while#{number}", test, most, run), None
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
                bounded(value)
            call = Invocation(activity, values, (), None)
            limit = None if within is None else effects.positive(within(f))
            return Compute.of(key, call, Options(make_policy(f), limit))

        return step

    def policy(self, policy: Node | None) -> Pure:
        if policy is None:
            return lambda f: _ONE_ATTEMPT
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
        accept = None if slot is None else effects.store(slot)
        if within is None:
            return STEP, lambda f: Receive(name), accept
        if node[4] is None:
            return STEP, effects.receive_within(name, within), effects.or_timeout(name, accept)
        kind, run = self.block(node[4], count=count)
        return FLOW, effects.receive_or(name, within, accept, flows.as_flow(kind, run)), None

    def choice(self, arms: Node, otherwise: Node | None, *, count: bool) -> tuple[int, Any, Any]:
        tests = []
        runs = []
        for condition, body in arms:
            tests.append(self.expr(condition))
            runs.append(self.block(body, count=count))
        last = None if otherwise is None else self.block(otherwise, count=count)
        if all(kind == PURE for kind, _ in runs) and (last is None or last[0] == PURE):
            pairs = tuple(zip(tests, [run for _, run in runs], strict=True))
            return PURE, pure.if_(pairs, nothing if last is None else last[1]), None
        ways = tuple(zip(tests, [flows.as_flow(*one) for one in runs], strict=True))
        return FLOW, flows.if_flow(ways, None if last is None else flows.as_flow(*last)), None

    def match(self, subject: Pure, slot: int, cases: Node, *, count: bool) -> tuple[int, Any, Any]:
        tests = []
        runs = []
        for test, guard, body in cases:
            tests.append(pure.pattern(test, slot, None if guard is None else self.expr(guard)))
            runs.append(self.block(body, count=count))
        first = pure.let(slot, subject)
        if all(kind == PURE for kind, _ in runs):
            choose = pure.if_(tuple(zip(tests, [run for _, run in runs], strict=True)), nothing)
            return PURE, lambda f: first(f) or choose(f), None
        flow = flows.if_flow(
            tuple(zip(tests, [flows.as_flow(*one) for one in runs], strict=True)), None
        )

        def run(f: Frame) -> Steps:
            first(f)
            return flow(f)

        return FLOW, run, None

    def guarded(
        self, body: Node, catches: Node, final: Node | None, *, count: bool
    ) -> tuple[int, Any, Any]:
        kind, run = self.block(body, count=count)
        handlers = []
        for names, slot, block in catches:
            handler_kind, handler = self.block(block, count=count)
            handlers.append((frozenset(names), slot, flows.as_flow(handler_kind, handler)))
        flow = (
            flows.catching(flows.as_flow(kind, run), tuple(handlers))
            if handlers
            else flows.as_flow(kind, run)
        )
        if final is not None:
            flow = flows.finally_(flow, flows.as_flow(*self.block(final, count=count)))
        return FLOW, flow, None
