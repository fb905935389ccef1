"""How each stored history was made. A name here is the name of a file; the files stay as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from raftoral.ids import RunId
from raftoral.machines import commands
from raftoral.replay.history import CallbackOpened, Event, Started, encode
from raftoral.runtime.views import HistoryView
from raftoral.testing import World
from raftoral.values import Money
from tests.golden import flows

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.registry.definition import Definition

FOLDER: Final = Path(__file__).parent
ITEM: Final = {"name": "tea", "price": Money(Decimal("4.50"), "EUR"), "colour": "red"}
AT: Final = datetime(2026, 2, 28, 23, 59, 59, 999000, tzinfo=UTC)


def recorded(
    name: str,
    given: list[Any],
    *,
    plan: Callable[[World], None] = lambda _world: None,
    generation: int = -1,
    definition: Definition | None = None,
    mocks: dict[str, Any] | None = None,
) -> HistoryView:
    """Return the history of one generation of a run (the last one unless another is asked for)."""
    world = World(
        flows.registry, definitions=[] if definition is None else [definition], mocks=mocks, seed=7
    )
    generations: list[list[bytes]] = []

    def settled(run: str, event: Event) -> None:
        if run != "run":
            return
        if isinstance(event, Started):
            generations.append([])
        generations[-1].append(encode(event, floats=True))
        if isinstance(event, CallbackOpened) and event.path == "review":
            world.beat(event.token)
            world.at("2h", partial(world.complete, event.token, "fine"))

    world.settled = settled
    world.start(name, given)
    plan(world)
    world.run()
    events = generations[generation]
    assert generation != -1 or events == world.history("run")
    kept = world.definition_of("run")
    world.close()
    digest = sha256(b"".join(events)).hexdigest()
    code = (kept.kind, kept.source, kept.ir)
    return HistoryView("run", kept.name, kept.version, kept.meaning_hash, 1, events, digest, *code)


def _waiting(world: World) -> None:
    world.update("run", "wanted", 0)
    world.update("run", "wanted", 5)
    world.at("1s", partial(world.signal, "run", "say", ITEM))


def _cancelled(world: World) -> None:
    world.at("90m", partial(world.cancel, "run", "enough"))
    _waiting(world)


def _paused(world: World) -> None:
    run = RunId("run")
    world.at("2s", lambda: world.propose(commands.Pause(run, "lunch")))
    world.at("1h", lambda: world.propose(commands.Resume(run)))
    world.at("2h", lambda: world.propose(commands.Terminate(run, "for good")))
    _waiting(world)


SCENARIOS: Final[dict[str, Callable[[], HistoryView]]] = {
    "values": partial(recorded, "golden.values", [1, ITEM, AT]),
    "failing": partial(recorded, "golden.failing", ["x"]),
    "waiting": partial(recorded, "golden.waiting", ["x"], plan=_waiting),
    "cancelled": partial(recorded, "golden.waiting", ["x"], plan=_cancelled),
    "terminated": partial(recorded, "golden.waiting", ["x"], plan=_paused),
    "branches": partial(recorded, "golden.branches", [["a", "b", "c"]]),
    "restarted": partial(recorded, "golden.restarting", [0], generation=0),
    "generation": partial(recorded, "golden.restarting", [0]),
    "leaving": partial(recorded, "golden.leaving", ["x"]),
}
