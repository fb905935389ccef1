"""Values of workflows as text for people: amounts, spans and times as they are written.

Owns no format that is read back: histories hold bytes, and JSON is for programs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Final

from raftoral.values import Money, format_span

TEXT_MAX: Final = 20_000
"""How many characters of one value are kept."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def visible(text: str, keep: str = "") -> str:
    r"""Return ``text`` with everything that is not seen, but for ``keep``, written out as ``\x1b``.

    What others chose (a reason, a message) must not drive the terminal of whoever reads it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def short(value: object, columns: int = 60) -> str:
    """Return `text_of` the value, cut to ``columns`` characters."""
    text = text_of(value)
    return text if len(text) <= columns else f"{text[: columns - 3]}..."


def text_of(value: object) -> str:
    """Return a value of a workflow as text for people, at most 20,000 characters; never fails."""
    try:
        text = _text(value, frozenset())
    except Exception:
        # A class of the application may refuse to be shown, or nest without an end.
        text = f"<{type(value).__name__}>"
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(text):,} characters)"


def _text(value: object, outer: frozenset[int]) -> str:
    match value:
        case Money() | Decimal():
            return str(value)
        case timedelta():
            return format_span(value)
        case datetime() if value.tzinfo is not None:
            text = value.astimezone(UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z").replace(".000Z", "Z")
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case Mapping() | list() | tuple():
            pass
        case _ if is_dataclass(value) and not isinstance(value, type):
            pass
        case str() | bytes():
            return repr(value)
        case _:
            # An address of memory is another one in each replay.
            return _ADDRESS.sub("", repr(value))
    if id(value) in outer:
        return "..."
    return _container(value, outer | {id(value)})


def _container(value: object, outer: frozenset[int]) -> str:
    match value:
        case Mapping():
            items = (f"{_text(key, outer)}: {_text(item, outer)}" for key, item in value.items())
            return f"{{{', '.join(items)}}}"
        case list() | tuple():
            opening, closing = "[]" if isinstance(value, list) else "()"
            return f"{opening}{', '.join(_text(item, outer) for item in value)}{closing}"
        case _:
            assert is_dataclass(value)
            shown = (
                f"{field.name}={_text(getattr(value, field.name, '?'), outer)}"
                for field in fields(value)
                if field.repr
            )
            return f"{type(value).__name__}({', '.join(shown)})"
