"""Runs workflow code with a copy of its module's names in which what no replay repeats is refused.

Owns the copies. Clocks, chance, input, output and threads are replaced by objects that raise
`NotRepeatable` (RPY15) and name the effect to use; everything else is the very object of the module.
It is no sandbox: it finds mistakes that the lint cannot see, and stops nobody who wants around it.

The rules it keeps: nothing outside of the copies changes, so activities, other threads and the module
itself never notice; classes of data stay what they are, so `isinstance`, `match` and pickled data
work; code objects are shared, so breakpoints, `pdb` and tracebacks see the author's lines.
"""

from __future__ import annotations

import builtins
from operator import is_
from types import CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from raftoral.lint import rules
from raftoral.registry.refusals import RefusedModule, RefusedName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ORIGINAL: Final = "__raftoral_original__"
"""The attribute of a copied function that holds the function itself; see `invocation_of`."""

_GUARD: Final = "__raftoral_guard__"
_ALIASES: Final = {"posix": "os", "posixpath": "os.path", "_io": "io", "_thread": "threading"}


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as it runs inside of a workflow; what is no plain function is left alone.

    The copy is kept with the function, and made anew when the names of its module have changed.
    """
    if not isinstance(function, FunctionType):
        return function
    guard: _Guard | None = vars(function).get(_GUARD)
    if guard is None:
        guard = vars(function)[_GUARD] = _Guard(function)
    return guard.copy()


class _Guard:
    """One workflow's copy, and the names that it was made from."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._names: dict[str, Any] = {}
        self._builtins: dict[str, Any] = {}
        self._copy: FunctionType | None = None

    def copy(self) -> FunctionType:
        names = self._function.__globals__
        if self._copy is None or not (
            _same(names, self._names) and _same(vars(builtins), self._builtins)
        ):
            self._names, self._builtins = dict(names), dict(vars(builtins))
            self._copy = _copied(self._function, _guarded_names(names))
        return self._copy


def _same(now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """Tell whether both hold the very same objects; never asks the objects whether they are equal."""
    return (
        len(now) == len(then)
        and all(map(is_, now.values(), then.values()))
        and now.keys() == then.keys()
    )


def _guarded_names(names: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a module's names with guarded modules, functions and builtins."""
    copy = dict(names)
    for name, value in names.items():
        if isinstance(value, FunctionType) and value.__globals__ is names:
            copy[name] = _copied(value, copy)
        else:
            copy[name] = _guarded_value(value)
    copy["__builtins__"] = {
        **vars(builtins),
        **{
            name: RefusedName(name, getattr(builtins, name), rules.rule_of_builtin(name))
            for name in rules.AT_RUN
        },
        "__import__": _import,
    }
    return copy


def _copied(function: FunctionType, names: dict[str, Any]) -> FunctionType:
    """Return a function that runs the same code over other global names."""
    cells = function.__closure__
    if cells is not None:
        cells = tuple(_guarded_cell(function, cell, names) for cell in cells)
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    # From Python 3.14 on annotations are worked out late, which must not happen here.
    late = "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
    setattr(copy, late, getattr(function, late))
    vars(copy).update(vars(function))
    vars(copy).pop(_GUARD, None)
    vars(copy)[ORIGINAL] = function
    return copy


def _guarded_cell(function: FunctionType, cell: CellType, names: dict[str, Any]) -> CellType:
    """Return the cell, or a new one if it holds the function that ``function`` decorates."""
    inner = getattr(function, "__wrapped__", None)
    try:
        decorates = isinstance(inner, FunctionType) and cell.cell_contents is inner
    except ValueError:
        return cell  # It is empty yet.
    if not decorates:
        return cell
    assert isinstance(inner, FunctionType)
    same = inner.__globals__ is function.__globals__
    return CellType(_copied(inner, names if same else _guarded_names(inner.__globals__)))


def _guarded_value(value: object) -> object:
    """Return what stands for a value in a copy: itself, or an object that refuses to be used."""
    if isinstance(value, ModuleType):
        return guarded_module(value, _ALIASES.get(value.__name__, value.__name__))
    name = _dotted(value)
    rule = rules.rule_of(name) if name is not None else None
    if name is None or rule is None or rule is rules.UNKNOWN:
        return value
    return RefusedName(name, value, rule)


def guarded_module(module: ModuleType, name: str) -> ModuleType:
    """Return a module as workflows see it: itself, if nothing in it is refused."""
    return RefusedModule(name, module) if rules.refuses_in(name) else module


def _dotted(value: object) -> str | None:
    """Return the dotted name of a function, method or class of a library; None for other values."""
    owner = getattr(value, "__self__", None)
    name = getattr(value, "__name__", None)
    if isinstance(owner, type) and name is not None:
        return f"{owner.__module__}.{owner.__qualname__}.{name}"  # A class's own constructor.
    if isinstance(value, type) and issubclass(value, BaseException):
        return None
    if callable(value) and name is not None:
        home = getattr(value, "__module__", None)
        if home is None:
            home = type(owner).__module__  # `random.random` belongs to a hidden generator.
        return f"{_ALIASES.get(home, home)}.{name}"
    kind = type(value)
    return "os.environ" if (kind.__module__, kind.__name__) == ("os", "_Environ") else None


def _import(
    name: str,
    names: Mapping[str, object] | None = None,
    local: Mapping[str, object] | None = None,
    wanted: tuple[str, ...] | None = None,
    level: int = 0,
) -> ModuleType:
    """Import as Python does, and return the module as workflows see it."""
    module = builtins.__import__(name, names, local, wanted or (), level)
    return guarded_module(module, _ALIASES.get(module.__name__, module.__name__))
