"""Expressions as closures over a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.errors import CorruptionError, WorkflowFailed
from raftoral.lang.evaluate.frames import RETURN, Exhausted, Frame, Meter, Pure
from raftoral.lang.ir import Node, decode_value
from raftoral.lang.primitives import BULK, PRIMITIVES

if TYPE_CHECKING:
    from raftoral.values import Value


def constant_value(node: Node) -> Value:
    """Return the value of an expression without variables."""
    try:
        value: Value = expression(node, [])([Meter(100_000)])
    except Exhausted:
        raise WorkflowFailed("FuelExhausted", "too many steps for a constant") from None
    return value


# ------------------------------------------------------------------ expressions
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


def expression(node: Node, functions: list[Function]) -> Pure:
    """Return the closure of one expression."""

    def inner(child: Node) -> Pure:
        return expression(child, functions)

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
            return error_field(inner(base), name)
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
            return each(slot, inner(source), test, inner(item))
        case ["do", operation, args]:
            return primitive(operation, [inner(arg) for arg in args])
        case ["call", number, args]:
            return call(functions[number], [inner(arg) for arg in args])
        case ["error", name, message, pairs]:
            return make_error(name, inner(message), [(key, inner(value)) for key, value in pairs])
        case _:
            raise CorruptionError(f"unknown expression {node[0]!r:.30}")


def primitive(name: str, args: list[Pure]) -> Pure:
    """Return the closure of an operation; one that takes longer for longer values costs fuel."""
    function = PRIMITIVES[name][1]
    if name in BULK:

        def bulk(f: Frame) -> Any:
            values = [arg(f) for arg in args]
            f[0].spend(sum(map(weight, values)))
            return function(*values)

        return bulk
    match args:
        case [a]:
            return lambda f: function(a(f))
        case [a, b]:
            return lambda f: function(a(f), b(f))
        case _:
            return lambda f: function(*[arg(f) for arg in args])


def weight(value: Any) -> int:
    """Return what a value costs a bulk operation."""
    kind = type(value)
    if kind is str:
        return len(value) >> 6
    return len(value) if kind is list or kind is dict else 0


def each(slot: int, source: Pure, condition: Pure | None, item: Pure) -> Pure:
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
