"""A checked program as nested closures, made once and run any number of times."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from raftoral.lang.boundary import Decoder
from raftoral.lang.evaluate import effects, flows, groups, pure
from raftoral.lang.evaluate.expressions import Around, Function, expression, nothing
from raftoral.lang.evaluate.frames import BREAK, CONTINUE, FLOW, PURE, Flow, Frame, Pure
from raftoral.lang.evaluate.notes import Noting
from raftoral.lang.ir import query_slots
from raftoral.lang.verify import decode

if TYPE_CHECKING:
    from raftoral.lang.evaluate.frames import Steps
    from raftoral.lang.evaluate.notes import Notes
    from raftoral.lang.ir import Node, Unit


class Program:
    """A checked program, ready to run any number of times.

    ``notes`` take down the statements of the workflow that runs come to, and the ways they go.
    """

    def __init__(self, unit: Unit, notes: Notes | None = None) -> None:
        self.unit = unit
        compiler = Compiler(unit, notes)
        self.body: Flow = compiler.workflow()
        self.queries = {
            name: (cells, query_slots(cells, ir), compiler.expr(ir))
            for name, _, cells, ir in unit.queries
        }


@functools.lru_cache(maxsize=512)
def load(data: bytes) -> Program:
    """Return the program of stored bytes; the last 512 are kept."""
    return Program(decode(data))


class Compiler:
    """Turns the statements of one unit into closures; numbers them as the side table does.

    A statement becomes its kind, its closure and, for an effect, what takes its answer.
    """

    def __init__(self, unit: Unit, notes: Notes | None = None) -> None:
        self.unit = unit
        self.notes = notes
        self.noting = Noting(None, 0)
        """What the statement that is compiled notes."""
        self.decoder = Decoder(dict(unit.records), dict(unit.enums), strict=False)
        self.results = {(name, version): result for name, version, _, result in unit.children}
        self.around = Around(self.decoder)
        self.number = 0

    def workflow(self) -> Flow:
        """Return the body of the workflow."""
        self.functions_of(self.unit.functions)
        self.number = 0
        return self.flow(self.unit.body)

    def functions_of(self, functions: Node) -> None:
        """Compile functions, each behind those that it calls, for what is compiled afterwards."""
        for _, slots, body in functions:
            function = Function(slots)
            kind, run = self.block(body, count=False)
            assert kind == PURE, "decode admits no effect in a function"
            function.body = run
            self.around.functions.append(function)

    def expr(self, node: Node) -> Pure:
        """Return the closure of an expression."""
        return expression(node, self.around)

    def maybe(self, node: Node | None) -> Pure | None:
        """Return the closure of an expression that may be missing."""
        return None if node is None else self.expr(node)

    def flow(self, block: Node) -> Flow:
        """Return a block of the workflow as a generator function."""
        return flows.as_flow(*self.block(block, count=True))

    def block(self, block: Node, *, count: bool) -> tuple[int, Any]:
        """Return whether a block yields, and its closure."""
        steps = []
        for statement in block:
            number = self.number
            self.number += 1
            self.noting = noting = Noting(self.notes if count else None, number)
            kind, run, accept = self.statement(statement, count=count)
            steps.append((kind, number, noting.reached(run), accept))
        if any(kind != PURE for kind, *_ in steps):
            return FLOW, flows.flow_block(tuple(steps))
        return PURE, flows.pure_block(tuple((n, run) for _, n, run, _ in steps), count=count)

    def statement(self, node: Node, *, count: bool) -> tuple[int, Any, Any]:
        """Return kind, closure and what takes the answer."""
        expr, noting = self.expr, self.noting
        match node:
            case ["let", slot, value]:
                return PURE, pure.let(slot, expr(value)), None
            case ["return", value]:
                return PURE, pure.return_(expr(value)), None
            case ["give", value]:
                return PURE, pure.give(expr(value)), None
            case ["fail", error]:
                return PURE, pure.fail(expr(error)), None
            case ["require", condition, error]:
                return PURE, pure.require(noting.either(expr(condition)), expr(error)), None
            case ["break"]:
                return PURE, lambda f: BREAK, None
            case ["continue"]:
                return PURE, lambda f: CONTINUE, None
            case ["if", arms, otherwise]:
                return self.choice(arms, otherwise, count=count)
            case ["match", subject, slot, cases]:
                return self.match(expr(subject), slot, cases, count=count)
            case ["for", stem, index, slot, source, by, body]:
                kind, run = self.block(body, count=count)
                items = noting.either(expr(source))
                if kind == PURE:
                    return kind, pure.for_(index, slot, items, run), None
                return kind, flows.for_flow(stem, index, slot, items, self.maybe(by), run), None
            case ["while", condition, limit, number, body]:
                kind, run = self.block(body, count=count)
                test, most = expr(condition), expr(limit)
                if kind == PURE:
                    return kind, noting.before(test, pure.while_(test, most, run)), None
                loop = flows.while_flow(f"while#{number}", test, most, run)
                return kind, noting.before(test, loop), None
            case ["try", body, catches, final]:
                return self.guarded(body, catches, final, count=count)
            case ["parallel" | "fan" | "race" | "saga" | "undo", *_]:
                return groups.statement(self, node)
            case _:
                return effects.statement(self, node)

    def choice(self, arms: Node, otherwise: Node | None, *, count: bool) -> tuple[int, Any, Any]:
        """Return an `if`."""
        noting = self.noting
        tests = []
        runs = []
        for way, (condition, body) in enumerate(arms):
            tests.append(self.expr(condition))
            kind, run = self.block(body, count=count)
            runs.append((kind, noting.way(way, run)))
        last = None
        if otherwise is not None or noting:
            kind, run = (PURE, nothing) if otherwise is None else self.block(otherwise, count=count)
            last = kind, noting.way(len(runs), run)
        if all(kind == PURE for kind, _ in runs) and (last is None or last[0] == PURE):
            pairs = tuple(zip(tests, [run for _, run in runs], strict=True))
            return PURE, pure.if_(pairs, nothing if last is None else last[1]), None
        ways = tuple(zip(tests, [flows.as_flow(*one) for one in runs], strict=True))
        return FLOW, flows.if_flow(ways, None if last is None else flows.as_flow(*last)), None

    def match(self, subject: Pure, slot: int, cases: Node, *, count: bool) -> tuple[int, Any, Any]:
        """Return a `match`."""
        noting = self.noting
        tests = []
        runs = []
        for way, (test, guard, body) in enumerate(cases):
            tests.append(pure.case(test, slot, self.maybe(guard)))
            kind, block = self.block(body, count=count)
            runs.append((kind, noting.way(way, block)))
        first = pure.let(slot, subject)
        if all(kind == PURE for kind, _ in runs):
            choose = pure.if_(tuple(zip(tests, [run for _, run in runs], strict=True)), nothing)
            return PURE, lambda f: first(f) or choose(f), None
        ways = tuple(zip(tests, [flows.as_flow(*one) for one in runs], strict=True))
        flow = flows.if_flow(ways, None)

        def run(f: Frame) -> Steps:
            first(f)
            return flow(f)

        return FLOW, run, None

    def guarded(
        self, body: Node, catches: Node, final: Node | None, *, count: bool
    ) -> tuple[int, Any, Any]:
        """Return a `try`."""
        noting = self.noting
        flow = flows.as_flow(*self.block(body, count=count))
        handlers = []
        for way, (names, slot, block) in enumerate(catches, 1):
            handler = flows.as_flow(*self.block(block, count=count))
            handlers.append((frozenset(names), slot, noting.way(way, handler)))
        if handlers:
            flow = flows.catching(noting.passed(0, flow), tuple(handlers))
        if final is not None:
            flow = flows.finally_(flow, flows.as_flow(*self.block(final, count=count)))
        return FLOW, flow, None
