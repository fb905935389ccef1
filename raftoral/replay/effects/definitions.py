"""Workflow definitions in Python: a generator function under a name and a version."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar

from raftoral.errors import UsageError
from raftoral.replay.effects.base import Flow, check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")

Query: TypeAlias = "Callable[[Mapping[str, Any]], Any]"
"""A pure function from the committed cells of a run, by path, to an answer."""


class Workflow(Generic[P, R]):
    """A generator function under a name and a version; calling it makes the generator."""

    def __init__(
        self,
        name: str,
        version: int,
        function: Callable[P, Flow[R]],
        *,
        queries: Mapping[str, Query] | None = None,
        search: tuple[str, ...] = (),
    ) -> None:
        if not inspect.isgeneratorfunction(function):
            raise UsageError(
                f"workflow {name}: {function.__name__} yields nothing. A workflow is a generator: "
                "it needs at least one `yield from Compute(...)` or `yield from Checkpoint(...)`"
            )
        if version < 1:
            raise UsageError(f"workflow {name}: versions are counted from 1, not {version}")
        for part in name.split("."):
            check_key(part)
        self.name = name
        self.version = version
        self.function = function
        self.queries = {check_key(query): ask for query, ask in (queries or {}).items()}
        self.search = tuple(check_key(cell) for cell in search)
        self.signature = inspect.signature(function)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Flow[R]:
        """Return the generator of one run."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name} version {self.version}>"


def workflow(
    name: str,
    *,
    version: int,
    queries: Mapping[str, Query] | None = None,
    search: tuple[str, ...] = (),
) -> Callable[[Callable[P, Flow[R]]], Workflow[P, R]]:
    """Make a generator function the workflow ``name`` of that version.

    ``queries`` are pure functions of the run's committed cells (a map from path to value), which
    any member of its group answers without running the workflow. ``search`` names the cells whose
    values runs can be listed by.
    """

    def wrap(function: Callable[P, Flow[R]]) -> Workflow[P, R]:
        return Workflow(name, version, function, queries=queries, search=search)

    return wrap
