"""Runs programs in a world: the engine's own machine, replay and decisions, on a clock that jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.lang.compile import Source, compile_source
from raftoral.lang.render import render_all
from raftoral.registry.definition import rwf_definition
from raftoral.replay.wording import describe
from raftoral.testing import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEAD = """
activity a.b(x: int) -> int timeout 1m idempotent
activity a.undo(x: int) timeout 1m idempotent
error Bad { x: int }
"""


def world(
    text: str, given: object = (), *, mocks: Mapping[str, Any] | None = None, name: str = "w"
) -> World:
    """Return a world in which the workflow ``name`` of a text was started as the run ``run``."""
    compiled = compile_source(Source("test.rwf", HEAD + text))
    assert not compiled.has_errors, render_all(compiled.diagnostics, compiled.source)
    definitions = [rwf_definition(unit) for unit in compiled.units]
    made = World(
        definitions=definitions, mocks={"a.b": lambda x: x, "a.undo": None, **(mocks or {})}
    )
    made.start(name, given)
    return made


def told(made: World) -> list[str]:
    """Run to the end; return the history as text, without its first event."""
    made.run()
    return [describe(event) for event in made.events()[1:]]


def history(text: str, given: object = (), **options: Any) -> list[str]:
    """Return the whole history of a run as text, without its first event."""
    made = world(text, given, **options)
    try:
        return told(made)
    finally:
        made.close()


def counted() -> tuple[Callable[[int], None], list[int]]:
    """Return an activity that notes its arguments, and the notes."""
    notes: list[int] = []

    def note(x: int) -> None:
        notes.append(x)

    return note, notes
