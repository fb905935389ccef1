"""One run of a world: its record, its code, what its owner has under way, and what it can ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raftoral.ids import Millis
from raftoral.machines import callbacks, runs

if TYPE_CHECKING:
    from random import Random

    from raftoral.kv import Reader
    from raftoral.machines.runs import Run
    from raftoral.replay.interpreter import Replay
    from raftoral.replay.waits import ComputeWait
    from raftoral.values import Value


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt under way: what it ends in, and when."""

    wait: ComputeWait
    attempt: int
    began_at: Millis
    ends_at: Millis
    outcome: Any


@dataclass(slots=True)
class Live:
    """A run of the world: its record, its code, and what its owner has under way."""

    run: Run
    replay: Replay
    attempts: dict[str, Attempt] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)


class Around:
    """`raftoral.replay.deciding.Surroundings` of one run of a world."""

    __slots__ = ("_chance", "_live", "_now", "_store")

    def __init__(self, live: Live, store: Reader, now: Millis, chance: Random) -> None:
        self._live = live
        self._store = store
        self._now = now
        self._chance = chance

    def now(self) -> Millis:
        """Return where the clock of the world stands."""
        return self._now

    def chance(self, below: int) -> int:
        """Return a number from 0 up to, not including, ``below``."""
        return self._chance.randrange(below)

    def token(self, path: str) -> str:
        """Return a new token for the callback at ``path``."""
        run = self._live.run
        secret = self.chance(1 << 128).to_bytes(16, "big")
        return callbacks.Token(run.id, run.generation, path, secret).encode()

    def signal(self, name: str) -> tuple[str, Value] | None:
        """Return the oldest signal in a mailbox."""
        return runs.oldest_mail(self._store, self._live.run.id, name)

    def request(self, name: str) -> tuple[str, Value] | None:
        """Return the oldest request in a mailbox."""
        return runs.oldest_update(self._store, self._live.run.id, name)

    def last_beat(self, path: str) -> Millis:
        """Return when the holder of a token was last at it; 0 for never."""
        known = callbacks.find(self._store, self._live.run.id, path)
        return Millis(0) if known is None else known.beaten_at

    def under_way(self, path: str) -> bool:
        """Tell whether an attempt of a step goes on."""
        return path in self._live.attempts

    def asked_here(self, path: str) -> bool:
        """Tell whether the attempt was recorded as asked for since the last crash."""
        return path in self._live.asked
