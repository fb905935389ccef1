"""What every node of the tree is: named places that are set once, equal by their values.

The same as ``@dataclass(frozen=True, slots=True)``, which writes and compiles six methods for each
class: for the hundred classes of the tree that took 30 ms of every start, and this takes 4. Types,
reports and what else every check brings along are made the same way.
"""

from __future__ import annotations

from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def node(plain: type[T]) -> type[T]:
    """Make a class with annotated places a node; a value that is given to one is its default."""
    names = tuple(plain.__annotations__)
    body = {k: v for k, v in vars(plain).items() if k not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    body |= {"__slots__": names, "__match_args__": names, **_METHODS}
    made: Any = type(plain.__name__, plain.__bases__, body)
    made.defaults = defaults
    made.put = tuple(vars(made)[name].__set__ for name in names)
    return made  # type: ignore[no-any-return]


def changed(one: T, **places: Any) -> T:
    """Return a node with some places set to something else."""
    kept: Any = one
    return type(one)(**{name: getattr(kept, name) for name in kept.__match_args__} | places)


def _init(self: Any, *values: Any, **named: Any) -> None:
    if len(values) < len(self.put):
        named = {**self.defaults, **named}
        values += tuple(named[name] for name in self.__match_args__[len(values) :])
    for put, value in zip(self.put, values, strict=True):
        put(self, value)


def _refuse(self: Any, name: str, value: object = None) -> None:
    raise AttributeError(f"{type(self).__name__} is a node of the tree and does not change: {name}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in self.__match_args__)


def _eq(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    places = zip(self.__match_args__, _values(self), strict=True)
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in places)})"


_METHODS = {
    "__init__": _init,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
}
