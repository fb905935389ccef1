"""What an activity may know of the attempt that it is: handed to it by the owner, never replayed."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import pack, unpack
from raftoral.convert import to_plain
from raftoral.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import Epoch, RunId
    from raftoral.values import Value

DETAILS_BYTES_MAX: Final = 16 * 1024
"""How much an attempt may tell in one heartbeat: it may come to stand in a history."""

LAST_HEARTBEAT: Final = "last_heartbeat"
"""Where a failure keeps what its attempt told last, among its details."""


class Pulse:
    """What passes between an attempt under way and its owner, from any thread, waking nobody."""

    __slots__ = ("beaten_at", "cancelled", "clock", "told")

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        """``clock`` gives monotonic seconds."""
        self.clock = clock
        self.beaten_at = clock()
        self.told = b""
        self.cancelled = False

    def beat(self, packed: bytes) -> None:
        """Note that the attempt is alive, and what it told, packed (empty for nothing new)."""
        self.told = packed or self.told
        self.beaten_at = self.clock()


@dataclass(frozen=True, slots=True)
class ActivityContext:
    """One attempt of one activity.

    ``attempt`` counts from 1; ``epoch`` only grows when another node takes the run over, so it can
    fence off a late predecessor. ``last_heartbeat`` is what the attempt before told last, None if
    it told nothing, or if its owner was lost in the middle of it.
    """

    run_id: RunId
    generation: int
    path: str
    attempt: int
    epoch: Epoch
    last_heartbeat: Value = None
    key: str | None = None
    pulse: Pulse = field(default_factory=Pulse, repr=False, compare=False)

    @property
    def idempotency_key(self) -> str:
        """Return the key that stays the same when this step is attempted again.

        It is the step's own, or else ``run id/generation/path``: a service that remembers it does
        the work once.
        """
        return self.key or f"{self.run_id}/{self.generation}/{self.path}"

    def heartbeat(self, details: Any = None) -> None:
        """Tell the owner that this attempt is alive, and how far it is: the next one finds it.

        From any thread, as often as you like; nothing is written. ``details`` is whatever can be
        stored, up to 16 KiB, else `InvalidInput` or `LimitExceeded`; None keeps the ones before.
        """
        plain: Any = to_plain(details)
        packed = b"" if plain is None else pack(plain, bytes_max=DETAILS_BYTES_MAX)
        self.pulse.beat(packed)

    @property
    def cancelled(self) -> bool:
        """Tell whether nobody waits for this attempt any more.

        A plain function looks at it now and then and returns or raises; after 5 s it is not waited
        for. A coroutine function is cancelled as a task is.
        """
        return self.pulse.cancelled


attempt_context: ContextVar[ActivityContext] = ContextVar("attempt_context")


def current() -> ActivityContext:
    """Return the context of the attempt that calls this; `UsageError` outside an activity."""
    try:
        return attempt_context.get()
    except LookupError:
        raise UsageError("only an activity that a node runs has an attempt") from None


def with_heartbeat(failure: list[Value], told: bytes) -> list[Value]:
    """Return a stored failure together with what its attempt told last, packed."""
    name, message, details = failure
    if not told or not isinstance(details, dict):
        return failure
    return [name, message, {**details, LAST_HEARTBEAT: unpack(told)}]


def heartbeat_of(failure: list[Value]) -> Value:
    """Return what the failed attempt told last; None if nothing."""
    details = failure[2]
    return details.get(LAST_HEARTBEAT) if isinstance(details, dict) else None
