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
from raftoral.testing import World, rwf
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


def _signal(after: str, name: str, payload: dict[str, Any]) -> Callable[[World], None]:
    return lambda world: world.at(after, partial(world.signal, "run", name, payload))


def _file(
    name: str,
    given: list[Any],
    mocks: dict[str, Any],
    plan: Callable[[World], None] = lambda _world: None,
) -> HistoryView:
    """Return the history of a run of the example of that name."""
    definition = rwf(FOLDER.parents[1] / "workflows" / f"{name}.rwf")
    return recorded(definition.name, given, definition=definition, mocks=mocks, plan=plan)


TEA: Final = {"sku": "tea", "qty": 120, "price": "4.50EUR"}
TRIP: Final = {
    "traveller": "ann",
    "origin": "BER",
    "goal": "LIS",
    "nights": 3,
    "budget": "500.00EUR",
}
DESK: Final = {
    "id": "e2",
    "employee": "al",
    "manager": "mo",
    "amount": "300.00EUR",
    "reason": "desk",
}


def _booked(price: str) -> Any:
    return lambda *_args: {"id": f"b-{price}", "price": price}


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
    "rwf-order": partial(
        _file,
        "order",
        [{"id": "o-1", "card": "4000", "items": [TEA]}],
        {"stock.reserve": "r-1", "payments.charge": "p-1", "shipping.dispatch": "t-1"},
        _signal("1h", "approved", {"by": "ann", "ok": True}),
    ),
    "rwf-trip": partial(
        _file,
        "trip",
        [TRIP],
        {
            "air.book": _booked("400.00EUR"),
            "hotel.book": _booked("150.00EUR"),
            "car.book": _booked("90.00EUR"),
            **dict.fromkeys(("air.cancel", "hotel.cancel", "car.cancel"), None),
        },
    ),
    "rwf-album": partial(
        _file,
        "album",
        ["d"],
        {
            "docs.pages": [{"number": n, "url": f"u{n}"} for n in range(12)],
            "images.shrink": lambda url, *_size: {"page": 1, "url": url, "size": len(url)},
            "images.publish": "album",
        },
    ),
    "rwf-approval": partial(
        _file,
        "approval",
        [DESK],
        {"chat.ask": None, "ledger.post": "l-1"},
        _signal("78h", "approve", {"by": "finance-lead"}),
    ),
}
