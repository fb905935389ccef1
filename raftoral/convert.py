"""Typed Python objects to stored values and back, and JSON for the outside; the only msgspec.

A workflow's dataclasses, enums, TypedDicts and pydantic models are stored as plain values and come
back by the type that the code declares. Never guesses: what does not fit is `InvalidInput`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final, TypeVar, cast

import msgspec

from raftoral.errors import InvalidInput, UsageError
from raftoral.values import Money, Value, format_span, parse_span

T = TypeVar("T")

AS_STORED: Final = frozenset({type(None), bool, int, str, bytes})
"""Kinds whose values come back from where they are stored as the same ones."""

_ATOMS: Final = frozenset(
    {type(None), bool, int, str, bytes, float, Decimal, Money, timedelta, datetime}
)


def to_plain(value: object) -> object:
    """Return ``value`` with dataclasses, enums and models turned into maps, lists and atoms.

    What it cannot turn comes back as it is; `raftoral.codec.pack` then refuses it by its place.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return to_plain(dump())
    return value


def from_plain(value: object, kind: Any) -> Any:
    """Return stored ``value`` as the declared type ``kind``; `InvalidInput` says what does not fit.

    ``kind`` may be any type, `typing.Any`, None or `inspect.Parameter.empty`; the last three and
    plain containers leave the value alone.
    """
    if kind is Any or kind is None or kind is inspect.Parameter.empty or kind is object:
        return value
    if type(value) is kind and kind in AS_STORED:
        return value
    validate = getattr(kind, "model_validate", None)
    try:
        return validate(value) if callable(validate) else msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidInput(str(error)) from None
    except (TypeError, NameError) as error:
        raise UsageError(
            f"the type {kind!r} cannot be stored and read back: {error}. Use dataclasses, enums, "
            "TypedDicts, pydantic models, or the plain kinds"
        ) from None
    except (Exception, SystemExit) as error:
        # The constructor of a user's type may raise anything.
        raise InvalidInput(f"{type(error).__name__}: {error}") from None


@functools.cache
def hints_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the resolved annotations of ``function``; empty if they cannot be resolved."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return {}


@functools.cache
def result_type(function: Callable[..., Any]) -> Any:
    """Return the type that an activity's result comes back as: its return annotation."""
    kind = hints_of(function).get("return", Any)
    if typing.get_origin(kind) in (Awaitable, typing.get_origin(typing.Coroutine[Any, Any, Any])):
        return typing.get_args(kind)[-1]
    return type(None) if kind is None else kind


def flow_result(function: Callable[..., Any] | None) -> Any:
    """Return the type that a workflow's function results in: ``R`` of its ``Flow[R]``."""
    if function is None:
        return Any
    kind = hints_of(function).get("return", Any)
    parts = typing.get_args(kind)
    return parts[2] if len(parts) == 3 else Any


@functools.cache
def takes_float(function: Callable[..., Any]) -> bool:
    """Tell whether a parameter of ``function`` declares a float."""
    hints = hints_of(function)
    return any(mentions_float(kind) for name, kind in hints.items() if name != "return")


@functools.cache
def mentions_float(kind: Any) -> bool:
    """Tell whether ``kind`` declares a float anywhere, so that a float may be stored for it."""
    seen: set[int] = set()
    waiting = [kind]
    while waiting:
        part = waiting.pop()
        if part is float:
            return True
        if id(part) in seen or isinstance(part, str):
            continue
        seen.add(id(part))
        waiting += typing.get_args(part)
        waiting.append(getattr(part, "__supertype__", None))
        if isinstance(part, type) and "__annotations__" in vars(part):
            waiting += hints_of(part).values()
    return False


# ------------------------------------------------------------------ JSON, for people and HTTP
def to_json(value: object, *, indent: int = 0) -> bytes:
    """Return JSON text of plain values; exact kinds become texts (``"9.99EUR"``, ``"1h30m"``)."""
    data = msgspec.json.encode(to_plain(_jsonable(value)))
    return msgspec.json.format(data, indent=indent) if indent else data


def _jsonable(value: object) -> object:
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, timedelta):
        return format_span(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


_JSON = msgspec.json.Decoder(float_hook=Decimal)


def from_json(data: bytes | str) -> Value:
    """Return plain values of JSON text, numbers with a point as `Decimal`; bad text is refused."""
    try:
        return cast(Value, _JSON.decode(data))
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidInput(f"this is no JSON: {error}") from None
    except RecursionError:
        raise InvalidInput("this JSON is nested too deeply") from None


def json_schema(kinds: list[type]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the JSON schemas of ``kinds`` and their shared components, for an OpenAPI page."""
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    return list(schemas), dict(components)


def relaxed(value: Value, kind: Any) -> Any:
    """Return a JSON value as the Python type ``kind``, reading exact kinds from their texts.

    What is of no exact kind, or does not fit, comes back as it is: `from_plain` judges it.
    """
    if kind is Money or kind is timedelta or kind is Decimal:
        return _exact_from_text(value, kind)
    outer, parts = typing.get_origin(kind), typing.get_args(kind)
    if outer in (typing.Union, types.UnionType):
        exact = [part for part in parts if part is not type(None)]
        return relaxed(value, exact[0]) if len(exact) == 1 and value is not None else value
    if outer in (list, tuple, Sequence) and isinstance(value, list) and parts:
        return [relaxed(item, parts[0]) for item in value] if _is_uniform(parts) else value
    if isinstance(value, dict):
        if outer in (dict, Mapping) and len(parts) == 2:
            return {key: relaxed(item, parts[1]) for key, item in value.items()}
        if isinstance(kind, type):
            hints = hints_of(kind)
            return {key: relaxed(item, hints.get(key, Any)) for key, item in value.items()}
    return value


def _is_uniform(parts: tuple[Any, ...]) -> bool:
    """Tell whether the arguments of a list or tuple type name one type for all its items."""
    return len(parts) == 1 or parts[1] is Ellipsis


def _exact_from_text(value: Value, kind: Any) -> Any:
    if isinstance(value, str):
        try:
            if kind is timedelta:
                return parse_span(value)
            if kind is Money:
                return Money(Decimal(value[:-3]), value[-3:])
            return Decimal(value)
        except (ValueError, InvalidOperation) as error:
            raise InvalidInput(f"{value!r:.60} is no {kind.__name__}: {error}") from None
    if kind is Decimal and type(value) is int:
        return Decimal(value)
    return value
