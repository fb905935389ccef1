"""Expressions as closures over a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import CorruptionError, WorkflowFailed
from raftoral.lang.boundary import Decoder, Misfit
from raftoral.lang.evaluate.frames import (
    NODES_MAX,
    RETURN,
    Exhausted,
    Frame,
    Meter,
    Pure,
    Shared,
    bounded,
)
from raftoral.lang.evaluate.patterns import tester
from raftoral.lang.ir import Node, decode_value
from raftoral.lang.primitives import BULK, PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raftoral.values import Value


class Function:
    """A pure function; its body is put in once it is compiled."""

    __slots__ = ("body", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.body: Pure = nothing

    def __call__(self, meter: Meter, args: list[Any]) -> Any:
        """Return what the function gives."""
        meter.spend(1)
        frame: Frame = [meter, *args, *[None] * (self.slots - len(args))]
        return meter.result if self.body(frame) == RETURN else None


def nothing(_: Frame) -> None:
    """Do nothing."""
    return


@dataclass(slots=True)
class Around:
    """What expressions need of their program: its functions, and how its types are read."""

    decoder: Decoder
    functions: list[Function] = field(default_factory=list)


def constant_value(node: Node, slots: int) -> Value:
    """Return the value of an expression without variables but those of its ``slots``."""
    around = Around(Decoder({}, {}, strict=False))
    try:
        frame = [Meter(100_000, Shared({})), *[None] * slots]
        value: Value = expression(node, around)(frame)
        bounded(value)
    except Exhausted:
        raise WorkflowFailed("FuelExhausted", "too many steps for a constant") from None
    return value


def expression(node: Node, around: Around) -> Pure:
    """Return the closure of one expression."""

    def inner(child: Node) -> Pure:
        return expression(child, around)

    match node:
        case ["const", plain]:
            value = decode_value(plain)
            return lambda f: value
        case ["local", slot]:
            return lambda f: f[slot]
        case ["cell", slot]:
            return lambda f: f[slot].value
        case ["self", name]:
            return lambda f: f[0].shared.own[name]
        case ["token", callback]:
            of = inner(callback)
            return lambda f: of(f).pending.token
        case ["field", ["local", slot], name]:
            return lambda f: f[slot][name]
        case ["field", base, name]:
            of = inner(base)
            return lambda f: of(f)[name]
        case ["maybe", base, name]:
            of = inner(base)
            return lambda f: None if (record := of(f)) is None else record[name]
        case ["error_field", base, name]:
            return error_field(inner(base), name)
        case ["is_none", operand]:
            of = inner(operand)
            return lambda f: of(f) is None
        case ["is", operand, pattern]:
            of, test = inner(operand), tester(pattern)
            return lambda f: test(f, of(f))
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
        case ["each", index, slot, source, condition, item]:
            when = None if condition is None else inner(condition)
            return each(index, slot, inner(source), when, inner(item))
        case ["do", operation, args]:
            return primitive(operation, [inner(arg) for arg in args])
        case ["call", number, args]:
            return call(around.functions[number], [inner(arg) for arg in args])
        case ["error", name, message, pairs]:
            return make_error(name, inner(message), [(key, inner(value)) for key, value in pairs])
        case ["decode", kind, value]:
            return decoded(around.decoder, kind, inner(value))
        case _:
            raise CorruptionError(f"unknown expression {node[0]!r:.30}")


def primitive(name: str, args: list[Pure]) -> Pure:
    """Return the closure of an operation; one that takes longer for larger values costs fuel."""
    function = PRIMITIVES[name][1]
    if name in BULK:

        def bulk(f: Frame) -> Any:
            values = [arg(f) for arg in args]
            meter = f[0]
            for value in values:
                if type(value) in SIZED:
                    meter.spend(weight(value))
            result = function(*values)
            if type(result) in SIZED:
                meter.spend(weight(result))
            return result

        return bulk
    match args:
        case [a]:
            return lambda f: function(a(f))
        case [a, b]:
            return lambda f: function(a(f), b(f))
        case _:
            return lambda f: function(*[arg(f) for arg in args])


SIZED: Final = frozenset({str, list, dict})


def weight(value: Any) -> int:
    """Return what a value costs: one for each part, and one for each 64 characters of text.

    A value that is too large to be stored is refused, since it may be a huge tree of few objects.
    """
    if type(value) is str:
        return len(value) >> 6
    cost = 0
    todo = [value]
    while todo:
        one = todo.pop()
        cost += len(one)
        if cost > NODES_MAX:
            raise WorkflowFailed("TooLarge", f"a value may have {NODES_MAX:,} parts")
        for part in one.values() if type(one) is dict else one:
            kind = type(part)
            if kind is list or kind is dict:
                todo.append(part)
            elif kind is str:
                cost += len(part) >> 6
    return cost


def items_of(source: Any) -> Iterable[tuple[Any, Any]]:
    """Return the items of a list with their numbers, or of a map with their keys, in order."""
    if type(source) is dict:
        return [(key, source[key]) for key in sorted(source)]
    return enumerate(source)


def each(index: int | None, slot: int, source: Pure, condition: Pure | None, item: Pure) -> Pure:
    """Return the closure of a comprehension."""

    def run(f: Frame) -> list[Any]:
        items = source(f)
        f[0].spend(len(items))
        kept = []
        for one in items:
            f[slot] = one
            if condition is None or condition(f):
                kept.append(item(f))
        return kept

    if index is None:
        return run

    def numbered(f: Frame) -> list[Any]:
        items = source(f)
        f[0].spend(len(items))
        kept = []
        for number, one in items_of(items):
            f[index] = number
            f[slot] = one
            if condition is None or condition(f):
                kept.append(item(f))
        return kept

    return numbered


def decoded(decoder: Decoder, kind: Node, value: Pure) -> Pure:
    """Return the closure of a `decode`, which costs fuel by the size of the value."""

    def run(f: Frame) -> Any:
        given = value(f)
        f[0].spend(bounded(given))
        try:
            return decoder.value(given, kind, "value")
        except Misfit as misfit:
            raise WorkflowFailed("BadValue", str(misfit)) from None

    return run


def call(function: Function, args: list[Pure]) -> Pure:
    """Return the closure of a call."""
    return lambda f: function(f[0], [arg(f) for arg in args])


def make_error(name: str, message: Pure, pairs: list[tuple[str, Pure]]) -> Pure:
    """Return the closure that makes an error."""
    return lambda f: WorkflowFailed(name, message(f), {key: of(f) for key, of in pairs})


def error_field(base: Pure, name: str) -> Pure:
    """Return the closure that reads a field of an error."""
    if name in ("name", "message", "attempts"):
        return lambda f: getattr(base(f), name)
    # An activity may fail with a name but without the fields that the file declares.
    return lambda f: base(f).details.get(name)
