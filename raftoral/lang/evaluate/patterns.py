"""Patterns as closures over a frame and the value that is tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from raftoral.lang.ir import decode_value
from raftoral.lang.primitives import same

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.evaluate.frames import Frame
    from raftoral.lang.ir import Node

Test: TypeAlias = "Callable[[Frame, Any], bool]"


def tester(node: Node) -> Test:
    """Return the test of a pattern; the names that it binds are set where it holds."""
    match node:
        case ["any"]:
            return lambda f, value: True
        case ["bind", slot]:
            return _bind(slot)
        case ["is", [plain]]:
            one = decode_value(plain)
            return lambda f, value: same(value, one)
        case ["is", plains]:
            values = tuple(decode_value(plain) for plain in plains)
            return lambda f, value: any(same(value, one) for one in values)
        case ["or", options]:
            tests = tuple(tester(option) for option in options)
            return lambda f, value: any(test(f, value) for test in tests)
        case ["case", name, []]:
            return lambda f, value: value == name or (type(value) is list and value[0] == name)
        case ["case", name, fields]:
            inside = _fields(fields)
            return lambda f, value: type(value) is list and value[0] == name and inside(f, value[1])
        case ["record", fields]:
            within = _fields(fields)
            return lambda f, value: value is not None and within(f, value)
        case _:
            raise AssertionError(f"decode admits no pattern {node!r:.40}")


def _bind(slot: int) -> Test:
    def bind(f: Frame, value: Any) -> bool:
        f[slot] = value
        return True

    return bind


def _fields(fields: Node) -> Test:
    tests = tuple((name, tester(pattern)) for name, pattern in fields)
    return lambda f, value: all(test(f, value[name]) for name, test in tests)
