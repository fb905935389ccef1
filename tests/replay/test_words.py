"""How a divergence is put into words: each kind of change by its transcript, and laws over a corpus."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.errors import NonDeterminismError
from raftoral.registry.app import Registry
from raftoral.replay.divergence import compare, explain
from raftoral.replay.effects import Flow, Workflow, workflow
from raftoral.replay.history import Ended, Started, decode
from raftoral.replay.interpreter import advance
from raftoral.replay.steps import Step, recorded_steps, yielded_steps
from raftoral.replay.wording import describe
from raftoral.testing import World
from tests import transcript
from tests.replay import diverging, forest, shapes
from tests.replay.shapes import RUN, start_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import RunId

TRANSCRIPT = Path(__file__).parent / "transcripts" / "divergence.txt"


def made(body: Callable[..., Flow[Any]], name: str = "w") -> Workflow[Any, Any]:
    """Return a function as a workflow."""
    return workflow(name, version=1)(body)


def recorded(body: Callable[[], Flow[Any]]) -> list[bytes]:
    """Return the history of a run of ``body``, up to the end of its first generation."""
    child = made(diverging.child, "child")
    world = World(Registry(workflows=[made(body), child], lint=False))
    histories: list[list[bytes]] = []

    def kept(run: str, event: object) -> None:
        if run != "run":
            return
        if isinstance(event, Started):
            histories.append([])
        histories[-1].append(shapes.encode(event, floats=True))  # type: ignore[arg-type]

    world.settled = kept
    world.start("w")
    world.run(until=lambda: len(histories) > 1)
    world.close()
    return histories[0]


def test_each_change_is_named_with_its_table(rewrite: bool) -> None:
    """What was changed is told by its cause, the values that differ, and both sides with the line."""

    def handle(block: transcript.Block) -> str:
        (name,) = block.words()
        before = getattr(diverging, f"{name}_before", diverging.before)
        found = explain(RUN, start_of(made(getattr(diverging, name))), recorded(before))
        return "it fits" if found is None else f"{found.cause}: {found}"

    transcript.run(TRANSCRIPT, handle, rewrite=rewrite)


CORPUS = [
    *((flow, RUN, lambda flow=flow: shapes.recorded(flow)) for flow in shapes.EVERY),
    *(
        (
            flow,
            forest.RUN,
            lambda flow=flow, seed=seed: forest.grown(flow, Random(seed), cancel=seed % 2 / 9),
        )
        for flow in forest.FOREST
        for seed in range(8)
    ),
]


@pytest.mark.parametrize(
    ("flow", "run", "history"), CORPUS, ids=lambda part: getattr(part, "name", "")
)
def test_code_that_fits_is_never_said_to_diverge(
    flow: Workflow[Any, Any], run: RunId, history: Callable[[], list[bytes]]
) -> None:
    """Of the code that wrote a history, nothing is told, at whatever length the history is cut."""
    whole = history()
    for length in range(len(whole) + 1):
        assert explain(run, start_of(flow), whole[:length]) is None, length


@pytest.mark.parametrize(
    ("flow", "run", "history"), CORPUS, ids=lambda part: getattr(part, "name", "")
)
def test_what_replay_refuses_is_explained(
    flow: Workflow[Any, Any], run: RunId, history: Callable[[], list[bytes]]
) -> None:
    """A history that lacks an event which the code yields is refused, and the words name a step."""
    whole = history()
    for position in range(1, len(whole)):
        cut = [*whole[:position], *whole[position + 1 :]]
        if len(steps_of(cut)) == len(steps_of(whole)):
            continue  # Another event of the same step is still there.
        try:
            advance(run, start_of(flow), cut)
        except NonDeterminismError:
            found = explain(run, start_of(flow), cut)
            assert found is not None, describe(decode(whole[position]))
            assert found.words
            assert str(found).count("\n> ") == 1


def steps_of(history: list[bytes]) -> list[Step]:
    """Return the steps of a history."""
    return recorded_steps([decode(data) for data in history])


def test_a_terminated_run_and_an_empty_history_fit() -> None:
    """What the group ended is no divergence, and neither is nothing."""
    history = shapes.recorded(shapes.line)
    cut = shapes.encode(Ended("terminated", ["HistoryTooLong", "too long", {}]))
    assert explain(RUN, start_of(shapes.line), [*history[:3], cut]) is None
    assert explain(RUN, start_of(shapes.line), []) is None
    assert compare([], []) is None
    assert yielded_steps(RUN, start_of(shapes.line), history[:1])[1] is False
