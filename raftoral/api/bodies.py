"""The JSON bodies of the HTTP API that are no views: requests, and lists with a name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from raftoral.api.guard import BODY_BYTES_MAX, too_large
from raftoral.convert import from_json, from_plain
from raftoral.errors import InvalidInput, LimitExceeded

# The views are named by the schemas, so they are needed at run time.
from raftoral.runtime.views import DefinitionView, NodeView, RunView, ScheduleView  # noqa: TC001

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """A `.rwf` text; ``path`` is what diagnostics call it."""

    source: str
    path: str = "<text>"


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Which workflow to start on which input (a map of its parameters, or a list in their order).

    With ``wait_ms`` the answer waits that long for the end of the run, and shows it as it stands
    then. ``policy`` says what happens if the ``id`` is taken: ``join``, ``reject`` or
    ``retry_failed``. The same ``request`` is one start, so repeating is safe.
    """

    name: str
    input: Any = field(default_factory=dict)
    id: str | None = None
    version: int | None = None
    policy: str = "join"
    request: str | None = None
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """How many settled steps the new run begins with; its id and version, if not the same one."""

    position: int
    id: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Which generation ended; retrying it again changes nothing."""

    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Because:
    """Why something is asked for; it stands in the history.

    The same ``request`` is one change, so repeating is safe.
    """

    reason: str = ""
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The same ``request`` is one change, so repeating is safe."""

    request: str | None = None


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """What the request carries; the same ``id`` is one request, so repeating is safe.

    The answer waits ``wait_ms`` for that of the run.
    """

    payload: Any = None
    id: str | None = None
    wait_ms: int = 25_000


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """The token of a step, and what it results in."""

    token: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class FailRequest:
    """The token of a step, and what it fails with."""

    token: str
    name: str
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BeatRequest:
    """The token of a step whose holder is still at it. In a body: paths end up in logs."""

    token: str


@dataclass(frozen=True, slots=True)
class PutScheduleRequest:
    """What a schedule starts, and when; instants and durations are texts.

    See `raftoral.Node.put_schedule`; ``catch_up`` is ``7d`` if not given. Without a ``version`` each run is of the newest one.
    """

    name: str
    when: str
    input: Any = field(default_factory=dict)
    version: int | None = None
    zone: str = "UTC"
    overlap: str = "skip"
    start: str | None = None
    end: str | None = None
    catch_up: str | None = None


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """The moment that names the run; the same one is one run."""

    at: str | None = None


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """From when to when runs are started, both included."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class SignalRequest:
    """What the signal carries; the same ``id`` is one signal, so repeating is safe."""

    payload: Any = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty object, where the path says it all."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """Deployed versions."""

    definitions: list[DefinitionView]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs, newest first; ``after`` asks for the next page, None says that there is none."""

    runs: list[RunView]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Schedules:
    """All schedules, by id."""

    schedules: list[ScheduleView]


@dataclass(frozen=True, slots=True)
class Triggered:
    """The runs that were started, or were there already."""

    runs: list[str]


@dataclass(frozen=True, slots=True)
class Generation:
    """The generation of a run that goes on now."""

    generation: int


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """What a run answered; if it has not yet, ask again with the same id."""

    answered: bool
    value: Any = None


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the cluster."""

    nodes: list[NodeView]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is committed."""

    ok: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this node can serve, and why not."""

    ok: bool
    node: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EventBody:
    """One settled step: its kind and fields, a line for people, and its canonical bytes (base64)."""

    position: int
    kind: str
    fields: dict[str, Any]
    text: str
    bytes: str


@dataclass(frozen=True, slots=True)
class StepBody(EventBody):
    """A settled step as it is followed: also which generation of the run it belongs to."""

    generation: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query answers."""

    value: Any


@dataclass(frozen=True, slots=True)
class History:
    """The settled steps of a run, and the definition that it is pinned to (``ir`` in base64).

    ``sha256`` is taken over the canonical bytes of the events in their order.
    """

    run_id: str
    name: str
    version: int
    meaning_hash: str
    node: int
    sha256: str
    kind: str
    source: str
    ir: str
    events: list[EventBody]


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong: a stable code, and what to do about it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The body of every answer that is no success."""

    error: Problem


async def read_body(request: Request, kind: type[T]) -> T:
    """Return the request's JSON body as ``kind``.

    Raises `LimitExceeded` above 1 MiB before anything is parsed, and `InvalidInput` for what is no
    JSON object, lacks a field, or has one that ``kind`` does not know.
    """
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > BODY_BYTES_MAX:
            raise LimitExceeded(too_large())
    body = from_json(bytes(chunks))
    if not isinstance(body, dict):
        raise InvalidInput("the body is a JSON object")
    known = {f.name for f in fields(cast(Any, kind))}
    if unknown := sorted(body.keys() - known):
        raise InvalidInput(
            f"no field {unknown[0]!r:.60} here; there are: {', '.join(sorted(known))}"
        )
    return cast(T, from_plain(body, kind))
