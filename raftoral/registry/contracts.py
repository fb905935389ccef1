"""Whether an application's activities keep the contracts that `.rwf` workflows declare for them.

Compares names, parameters and results with the signatures of the functions, as far as those say
something: what has no annotation fits. A workflow hands arguments over by position and as plain
values, so a record arrives as a map; a result may also be a dataclass with the record's fields.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from raftoral.convert import hints_of, result_type
from raftoral.lang import ast, boundary
from raftoral.lang.diagnostics import Diagnostic, Diagnostics
from raftoral.lang.parse import parse
from raftoral.lang.source import Source, Span
from raftoral.values import Money

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.lang.ir import Unit
    from raftoral.lang.read import Read
    from raftoral.registry.app import Registry

_PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "bool": (bool, int),
    "int": (int, float),
    "decimal": (Decimal,),
    "bytes": (bytes,),
    "duration": (timedelta,),
    "timestamp": (datetime,),
    "money": (Money,),
}
_LISTS: Final = (list, Sequence, Iterable, Collection)
_ANY: Final = (Any, object, inspect.Parameter.empty)


@dataclasses.dataclass(frozen=True, slots=True)
class Breach:
    """One way in which a function breaks a contract; ``code`` is that of its page."""

    code: str
    activity: str
    message: str
    help: str
    warning: bool = False


def breaches(unit: Unit, registry: Registry) -> list[Breach]:
    """Return what is wrong between a workflow's activities and those of an application."""
    found: list[Breach] = []
    fields = {name: {field[0]: field for field in rows} for name, rows in unit.records}
    for name, params, result, _, _ in unit.activities:
        activity = registry.activities.get(name)
        if activity is None:
            message = f"the application has no activity `{name}`"
            help_ = f'register it: `@activity("{name}")`, in the Registry that --with names'
            found.append(Breach("RWF0701", name, message, help_))
            continue
        found += _parameters(name, params, activity.function)
        wrong = _result(result, result_type(activity.function), fields)
        if wrong:
            message = f"`{name}` results in {boundary.show(result)}, and its function in {wrong}"
            help_ = "change the function's annotation, or what the activity is declared to give"
            found.append(Breach("RWF0703", name, message, help_))
    return found


def broken(found: Read, source: Source, registry: Registry) -> tuple[Diagnostic, ...]:
    """Return the breaches of everything that a file says, where its activities are declared.

    For an activity of an imported file that is the import.
    """
    told = dict.fromkeys(one for unit in found.units for one in breaches(unit, registry))
    places = _places(source, found.sources)
    return tuple(
        Diagnostic(
            one.code,
            one.message,
            places.get(one.activity, Span(0, 1)),
            help=(one.help,),
            severity="warning" if one.warning else "error",
        )
        for one in told
    )


def _places(source: Source, imported: Mapping[str, Source]) -> dict[str, Span]:
    found: dict[str, Span] = {}
    file = parse(source, Diagnostics())
    for item in file.items if file else ():
        if isinstance(item, ast.ActivityDef):
            found[item.name.text] = item.name.span
        elif isinstance(item, ast.Import) and item.path in imported:
            others = {path: one for path, one in imported.items() if path != item.path}
            for name in _places(imported[item.path], others):
                found.setdefault(name, item.path_span)
    return found


# ------------------------------------------------------------------ what goes in
def _parameters(name: str, params: list[Any], function: Any) -> Iterator[Breach]:
    try:
        taken = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    places = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in places if p.default is p.empty]
    rest = any(p.kind is p.VAR_POSITIONAL for p in taken)
    only = [p.name for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    help_ = "arguments are handed over by position, all of them"
    if only:
        message = f"`{name}` needs {only[0]!r} by name, and workflows give arguments by position"
        yield Breach("RWF0702", name, message, help_)
        return
    if len(params) < len(required) or (len(params) > len(places) and not rest):
        takes = (
            f"{len(required)}"
            if len(required) == len(places)
            else f"{len(required)} to {len(places)}"
        )
        message = (
            f"`{name}` is declared with {len(params)} parameters, and its function takes {takes}"
        )
        yield Breach("RWF0702", name, message, help_)
        return
    hints = hints_of(function)
    for (given, kind, _), place in zip(params, places, strict=False):
        taken_as = hints.get(place.name, Any)
        if not _takes(kind, taken_as):
            message = f"`{name}` is handed {given} as {boundary.show(kind)}, and its function takes {_shown(taken_as)}"
            yield Breach("RWF0702", name, message, "change one of the two")
        elif _is_record(kind, taken_as):
            message = (
                f"`{name}` is handed {given} as maps, and its function takes {_shown(taken_as)}"
            )
            note = "annotate a dict or a TypedDict; only Python workflows hand over objects"
            yield Breach("RWF0704", name, message, note, warning=True)
    names = [param[0] for param in params]
    places_named = [place.name for place in places[: len(params)]]
    if sorted(names) == sorted(places_named) and names != places_named:
        message = f"the parameters of `{name}` have another order in its function"
        note = f"declared {', '.join(names)}; the function takes {', '.join(places_named)}"
        yield Breach("RWF0702", name, message, note)


def _takes(kind: list[Any], annotation: Any) -> bool:
    """Tell whether a function that declares ``annotation`` can be handed such a value."""
    annotation, maybe = _required(annotation)
    if annotation in _ANY or isinstance(annotation, (typing.TypeVar, str)):
        return True
    if isinstance(annotation, tuple):
        return any(_takes(kind, part) for part in annotation)
    match kind:
        case ["optional", inner]:
            return maybe and _takes(inner, annotation)
        case ["list", inner]:
            outer, parts = _parts(annotation)
            return outer in _LISTS and (not parts or _takes(inner, parts[0]))
        case ["map", inner]:
            outer, parts = _parts(annotation)
            return outer in (dict, Mapping) and (len(parts) < 2 or _takes(inner, parts[1]))
        case ["record", _]:
            return _parts(annotation)[0] in (dict, Mapping) or _has_fields(annotation)
        case ["json" | "enum", *_]:
            return True
        case [name, *_]:
            return annotation in _PLAIN.get(name, (annotation,))
        case _:
            return True


def _is_record(kind: list[Any], annotation: Any) -> bool:
    """Tell whether records would arrive where the function takes objects."""
    annotation, _ = _required(annotation)
    match kind:
        case ["record", _]:
            return _has_fields(annotation) and not typing.is_typeddict(annotation)
        case ["optional", inner]:
            return _is_record(inner, annotation)
        case ["list" | "map", inner]:
            parts = _parts(annotation)[1]
            return bool(parts) and _is_record(inner, parts[-1])
        case _:
            return False


# ------------------------------------------------------------------ what comes out
def _result(kind: list[Any], annotation: Any, fields: dict[str, dict[str, list[Any]]]) -> str:
    """Return how a function's result does not fit; empty if it does, or says nothing."""
    if kind == ["none"] or annotation in _ANY or isinstance(annotation, (typing.TypeVar, str)):
        return ""
    inner, maybe = _required(annotation)
    if annotation is type(None):
        return "" if kind[0] in ("optional", "json") else "none"
    if kind[0] == "optional":
        return _result(kind[1], inner, fields)
    if maybe and kind[0] != "json":
        return f"{_shown(annotation)}, which may be None"
    if isinstance(inner, tuple):
        return ""  # one of several: only the value tells
    match kind:
        case ["list", item]:
            outer, parts = _parts(inner)
            fits = outer in (*_LISTS, tuple)
            wrong = fits and parts and parts[0] is not Ellipsis and _result(item, parts[0], fields)
            return "" if fits and not wrong else _shown(annotation)
        case ["map", item]:
            outer, parts = _parts(inner)
            fits = outer in (dict, Mapping)
            wrong = fits and len(parts) == 2 and _result(item, parts[1], fields)
            return "" if fits and not wrong else _shown(annotation)
        case ["record", name]:
            return _record(fields.get(name, {}), inner)
        case ["json" | "enum", *_]:
            return ""
        case [name, *_]:
            fitting = (*_PLAIN.get(name, (inner,)), *((float, int) if name == "decimal" else ()))
            if name == "int":
                fitting = (int,)
            is_enum = isinstance(inner, type) and issubclass(inner, Enum)
            return "" if inner in fitting or is_enum else _shown(annotation)
        case _:
            return ""


def _record(fields: dict[str, list[Any]], kind: Any) -> str:
    if not _has_fields(kind):
        return "" if _parts(kind)[0] in (dict, Mapping) else _shown(kind)
    names = set(hints_of(kind))
    missing = [n for n, (_, type_, default) in fields.items()
               if n not in names and not default and type_[0] != "optional"]  # fmt: skip
    return f"{_shown(kind)}, which has no `{missing[0]}`" if missing else ""


# ------------------------------------------------------------------ annotations
def _required(annotation: Any) -> tuple[Any, bool]:
    """Return the type without None (a tuple of several), and whether None is one of them."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, annotation is type(None)
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    maybe = len(parts) < len(typing.get_args(annotation))
    return (parts[0] if len(parts) == 1 else tuple(parts)), maybe


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(annotation) or annotation, typing.get_args(annotation)


def _has_fields(annotation: Any) -> bool:
    return (
        dataclasses.is_dataclass(annotation)
        or typing.is_typeddict(annotation)
        or hasattr(annotation, "model_fields")
    )


def _shown(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return (
        str(annotation).replace("typing.", "").replace("__main__.", "").rsplit("<locals>.", 1)[-1]
    )
