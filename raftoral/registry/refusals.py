"""What stands in a workflow's names for a clock, a die or a file: it can be named, and not be used."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from raftoral.errors import NotRepeatable
from raftoral.lint import rules
from raftoral.lint.allowed import AllowedLines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raftoral.lint.rules import Rule

_allowed = AllowedLines()


class RefusedName:
    """A function, a class or a variable whose use is refused.

    It still serves `isinstance`, `except` and annotations, and pickles as what it stands for.
    """

    __slots__ = ("__weakref__", "_dotted", "_real", "_rule")

    def __init__(self, dotted: str, real: Any, rule: Rule | None) -> None:
        self._dotted = dotted
        self._real = real
        self._rule = rule

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Refuse the call, or make it where a comment allows it."""
        _pass_or_refuse(self._dotted, self._rule)
        return self._real(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            _pass_or_refuse(self._dotted, self._rule)
        return getattr(self._real, name)

    def __getitem__(self, key: Any) -> Any:
        _pass_or_refuse(self._dotted, self._rule)
        return self._real[key]

    def __contains__(self, key: object) -> bool:
        _pass_or_refuse(self._dotted, self._rule)
        return key in self._real

    def __iter__(self) -> Iterator[Any]:
        _pass_or_refuse(self._dotted, self._rule)
        return iter(self._real)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._real)

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self._real)

    def __or__(self, other: Any) -> Any:
        return self._real | other

    def __ror__(self, other: Any) -> Any:
        return other | self._real

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._real,)

    def __repr__(self) -> str:
        return repr(self._real)


def _itself(value: Any) -> Any:
    return value


class RefusedModule(ModuleType):
    """A module of which some names are refused; the others are the module's own."""

    def __init__(self, dotted: str, real: ModuleType) -> None:
        super().__init__(real.__name__, real.__doc__)
        self.__dict__["_raftoral"] = dotted, real

    def __getattr__(self, name: str) -> Any:
        dotted, real = self.__dict__["_raftoral"]
        value = getattr(real, name)
        full = f"{dotted}.{name}"
        if isinstance(value, ModuleType):
            return RefusedModule(full, value) if rules.refuses_in(full) else value
        if name.startswith("__") or (isinstance(value, type) and issubclass(value, BaseException)):
            return value
        rule = rules.rule_of(full)
        if rule is None or rule is rules.UNKNOWN:
            return value
        _pass_or_refuse(full, rule)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        raise NotRepeatable(
            f"RPY15: a workflow may not change the module {self.__name__}, which all runs share"
        )

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_raftoral"][1])

    def __repr__(self) -> str:
        return repr(self.__dict__["_raftoral"][1])


def _pass_or_refuse(dotted: str, rule: Rule | None) -> None:
    """Refuse a use, unless it is typed into a debugger or allowed by a comment at its line."""
    here = inspect.currentframe()
    assert here is not None
    assert here.f_back is not None
    frame = here.f_back.f_back
    assert frame is not None
    file, line = frame.f_code.co_filename, frame.f_lineno
    if file.startswith("<") or rule is None:
        return
    if not _allowed.has(Path(file), line, rule.code, dotted):
        _refuse(f"{Path(file).name}:{line}", dotted, rule)


def _refuse(where: str, dotted: str, rule: Rule) -> NoReturn:
    raise NotRepeatable(
        f"RPY15: `{dotted}` ({where}) {rule.does}, so a workflow may not use it; {rule.help}"
    )
