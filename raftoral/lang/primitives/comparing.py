"""What is equal, what comes first, and the hash that equal values share."""

from __future__ import annotations

import operator
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import InvalidInput, LimitExceeded, WorkflowFailed
from raftoral.lang.primitives.bounds import DEPTH_MAX, PARTS_MAX
from raftoral.lang.primitives.money import amounts
from raftoral.values import EXACT, Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.primitives.bounds import Table


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal and of one kind: 1 is not true, 1.0 is not 1.

    Values are shared, so what looks small may be a huge tree: comparing it fails with ``TooLarge``.
    """
    if type(a) is not type(b):
        return False
    if type(a) is not list and type(a) is not dict:
        return bool(a == b)
    return _same_parts(a, b)


def _same_parts(a: Any, b: Any) -> bool:
    todo = [(a, b)]
    steps = 0
    while todo:
        x, y = todo.pop()
        steps += 1
        if steps > PARTS_MAX:
            raise WorkflowFailed("TooLarge", f"more than {PARTS_MAX:,} parts to be compared")
        if type(x) is not type(y):
            return False
        if type(x) is list:
            if len(x) != len(y):
                return False
            todo.extend(zip(x, y, strict=True))
        elif type(x) is dict:
            if x.keys() != y.keys():
                return False
            todo.extend((x[key], y[key]) for key in x)
        elif x != y:
            return False
    return True


def _different(a: Any, b: Any) -> bool:
    return not same(a, b)


def _keys_of(items: list[Any]) -> Callable[[Any], Any] | None:
    """Return what to sort ``items`` by; amounts must be of one currency."""
    if items and type(items[0]) is Money:
        for item in items:
            amounts(items[0], item)
        return operator.attrgetter("amount")
    return None


def _smallest(items: list[Any]) -> Any:
    if not items:
        raise WorkflowFailed("Empty", "min of an empty list")
    return min(items, key=_keys_of(items))


def _largest(items: list[Any]) -> Any:
    if not items:
        raise WorkflowFailed("Empty", "max of an empty list")
    return max(items, key=_keys_of(items))


def _sort(items: list[Any], descending: bool) -> list[Any]:
    return sorted(items, key=_keys_of(items), reverse=descending)


def _sort_by(items: list[Any], field: str, descending: bool) -> list[Any]:
    keys = [item[field] for item in items]
    inner = _keys_of(keys)
    if inner is not None:
        return sorted(items, key=lambda item: inner(item[field]), reverse=descending)
    return sorted(items, key=operator.itemgetter(field), reverse=descending)


def _in_list(item: Any, items: list[Any]) -> bool:
    return any(same(item, one) for one in items)


def _distinct(items: list[Any]) -> list[Any]:
    kept: list[Any] = []
    seen: set[Any] = set()
    for item in items:
        token = _token(item)
        if token not in seen:
            seen.add(token)
            kept.append(item)
    return kept


def _token(value: Any) -> Any:
    """Return something hashable that is equal exactly where `same` says so."""
    if type(value) is list or type(value) is dict:
        return _digest(value)
    return (type(value), value)


def _digest(value: Any) -> str:
    """Return the sha256 of a value's canonical bytes, as hex digits; equal values have one."""
    from raftoral.codec import pack  # what only checks a program packs nothing

    try:
        return sha256(pack(_shortest(value, 0))).hexdigest()
    except (LimitExceeded, InvalidInput) as refused:
        raise WorkflowFailed("TooLarge", f"the value has no hash: {refused}") from None


def _shortest(value: Any, depth: int) -> Any:
    """Return an equal value whose decimals have no zeros at the end: 1.0 and 1.00 are one."""
    kind = type(value)
    if kind is Decimal:
        return value.normalize(EXACT)
    if kind is Money:
        return Money(value.amount.normalize(EXACT), value.currency)
    if kind is not list and kind is not dict:
        return value
    if depth >= DEPTH_MAX:
        raise WorkflowFailed("TooLarge", f"a value may be nested {DEPTH_MAX} levels deep")
    if kind is list:
        return [_shortest(item, depth + 1) for item in value]
    return {key: _shortest(item, depth + 1) for key, item in value.items()}


PRIMITIVES: Final[Table] = {
    "eq": (2, same),
    "ne": (2, _different),
    "eq.plain": (2, operator.eq),
    "ne.plain": (2, operator.ne),
    "lt": (2, operator.lt),
    "le": (2, operator.le),
    "gt": (2, operator.gt),
    "ge": (2, operator.ge),
    "in.list": (2, _in_list),
    "min": (1, _smallest),
    "max": (1, _largest),
    "sort": (2, _sort),
    "sort.by": (3, _sort_by),
    "distinct": (1, _distinct),
    "hash": (1, _digest),
}
