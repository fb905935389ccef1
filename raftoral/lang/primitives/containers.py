"""Lists and maps; every function gives a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import WorkflowFailed
from raftoral.lang.primitives.bounds import ITEMS_MAX, checked_int, checked_list, exactly
from raftoral.lang.primitives.money import add_money
from raftoral.lang.primitives.times import add_duration
from raftoral.values import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.primitives.bounds import Table


def _sum_int(items: list[int]) -> int:
    return checked_int(sum(items))


def _sum_by(add: Callable[[Any, Any], Any]) -> Callable[[list[Any], Any], Any]:
    def run(items: list[Any], zero: Any) -> Any:
        if not items:
            if zero is None:
                raise WorkflowFailed("Empty", "the sum of no amounts has no currency")
            return zero
        total = items[0]
        for item in items[1:]:
            total = add(total, item)
        return total

    return run


def _range(start: int, end: int) -> list[int]:
    if end - start > ITEMS_MAX:
        raise WorkflowFailed("TooLarge", f"a range may have {ITEMS_MAX:,} numbers")
    return list(range(start, end))


def _at(items: list[Any], index: int) -> Any:
    if 0 <= index < len(items):
        return items[index]
    raise WorkflowFailed("OutOfRange", f"item {index} of a list of {len(items)}")


def _first(items: list[Any]) -> Any:
    return items[0] if items else None


def _last(items: list[Any]) -> Any:
    return items[-1] if items else None


def _keys(value: dict[str, Any]) -> list[str]:
    return sorted(value)


def _values(value: dict[str, Any]) -> list[Any]:
    return [value[key] for key in sorted(value)]


def _merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    merged = a | b
    if len(merged) > ITEMS_MAX:
        raise WorkflowFailed("TooLarge", f"a map may have {ITEMS_MAX:,} keys")
    return merged


def _put(value: dict[str, Any], key: str, item: Any) -> dict[str, Any]:
    return _merge(value, {key: item})


def _count(items: list[bool]) -> int:
    return sum(items)


def _concat_list(a: list[Any], b: list[Any]) -> list[Any]:
    return checked_list(a + b)


PRIMITIVES: Final[Table] = {
    "in.map": (2, lambda key, value: key in value),
    "at.list": (2, _at),
    "at.map": (2, lambda value, key: value.get(key)),
    "len": (1, len),
    "sum.int": (1, _sum_int),
    "sum.decimal": (2, _sum_by(exactly(EXACT.add))),
    "sum.money": (2, _sum_by(add_money)),
    "sum.duration": (2, _sum_by(add_duration)),
    "range": (2, _range),
    "count": (1, _count),
    "concat.list": (2, _concat_list),
    "keys": (1, _keys),
    "values": (1, _values),
    "first": (1, _first),
    "last": (1, _last),
    "reverse": (1, lambda items: items[::-1]),
    "any": (1, any),
    "all": (1, all),
    "merge": (2, _merge),
    "put": (3, _put),
}
