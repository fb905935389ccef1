"""Texts, and how every other value is written as one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import WorkflowFailed
from raftoral.lang.primitives.bounds import (
    DEPTH_MAX,
    PARTS_MAX,
    STRING_MAX,
    checked_list,
    checked_text,
)
from raftoral.values import format_span

if TYPE_CHECKING:
    from raftoral.lang.primitives.bounds import Table

_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_ASCII_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_BLANKS: Final = " \t\r\n"


def text(value: Any) -> str:
    """Return ``value`` as people read it, equal on every node."""
    if type(value) is str:
        return value
    return checked_text(_shown(value))


def _shown(value: Any, depth: int = 0) -> str:
    kind = type(value)
    if kind is list or kind is dict:
        if depth >= DEPTH_MAX:
            raise WorkflowFailed("TooLarge", f"a value may be nested {DEPTH_MAX} levels deep")
        if kind is list:
            return f"[{_joined(_shown(item, depth + 1) for item in value)}]"
        pairs = (f"{key}: {_shown(value[key], depth + 1)}" for key in sorted(value))
        return f"{{{_joined(pairs)}}}"
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "none"
    if kind is Decimal:
        return format(value, "f")
    if kind is timedelta:
        return format_span(value)
    if kind is datetime:
        return _moment(value)
    if kind is bytes:
        return str(value.hex())
    return str(value)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _case_text(value: Any) -> str:
    """Return a case of an enum as it is written: ``Approved(by: ann)``."""
    if type(value) is not list:
        return text(value)
    name, fields = value
    return checked_text(f"{name}({_joined(f'{key}: {_shown(fields[key], 1)}' for key in fields)})")


def _joined(parts: Any) -> str:
    """Return the parts with commas; gives up early where the text becomes too long."""
    kept: list[str] = []
    length = 0
    for part in parts:
        length += len(part) + 2
        if length > STRING_MAX + 2:
            raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
        kept.append(part)
    return ", ".join(kept)


def _json_of(value: Any) -> str:
    """Return JSON: keys sorted, exact kinds as texts, which is how they are read back."""
    text = json.dumps(_jsonable(value, [0], 0), ensure_ascii=False, separators=(",", ":"))
    return checked_text(text)


def _jsonable(value: Any, count: list[int], depth: int) -> Any:
    count[0] += 1
    if count[0] > PARTS_MAX or depth > DEPTH_MAX:
        raise WorkflowFailed("TooLarge", "the value is too large or too deep for a text")
    kind = type(value)
    if kind is list:
        return [_jsonable(item, count, depth + 1) for item in value]
    if kind is dict:
        return {key: _jsonable(value[key], count, depth + 1) for key in sorted(value)}
    if kind is bytes:
        return base64.b64encode(value).decode()
    return value if kind in (str, int, bool, type(None)) else _shown(value)


def _concat(*parts: str) -> str:
    return checked_text("".join(parts))


def _join(items: list[str], between: str) -> str:
    if sum(map(len, items)) + len(items) * len(between) > STRING_MAX + len(between):
        raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
    return checked_text(between.join(items))


def _replace(value: str, old: str, new: str) -> str:
    if not old:
        raise WorkflowFailed("OutOfRange", "an empty text cannot be replaced")
    if len(new) > len(old) and len(value) + value.count(old) * (len(new) - len(old)) > STRING_MAX:
        raise WorkflowFailed("TooLarge", f"a text may have {STRING_MAX:,} characters")
    return checked_text(value.replace(old, new))


def _split(value: str, between: str) -> list[str]:
    if not between:
        raise WorkflowFailed("OutOfRange", "a text cannot be split at an empty text")
    return checked_list(value.split(between))


PRIMITIVES: Final[Table] = {
    "text": (1, text),
    "text.case": (1, _case_text),
    "json": (1, _json_of),
    "concat": (-1, _concat),
    "join": (2, _join),
    "in.string": (2, lambda part, value: part in value),
    "lower": (1, lambda a: a.translate(_ASCII_LOWER)),
    "upper": (1, lambda a: a.translate(_ASCII_UPPER)),
    "trim": (1, lambda value: value.strip(_BLANKS)),
    "starts": (2, lambda value, part: value.startswith(part)),
    "replace": (3, _replace),
    "split": (2, _split),
}
