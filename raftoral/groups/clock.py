"""What time it is: on the machine, in a group, and on the other nodes.

Owns the stamps of a group's entries and what is known of the peers' wall clocks. The rules it
keeps: a leader's stamps go forward as fast as monotonic time and never back; a new leader starts
from the later of the machine's clock and the median of the wall clocks it has heard; a node whose
own wall clock is far off that median is told so.
"""

from __future__ import annotations

import math
import time
from statistics import median_low
from typing import TYPE_CHECKING, Protocol

from raftoral.ids import Millis, NodeId

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds from some moment on, never going back."""
        ...

    def wall(self) -> Millis:
        """Return the machine's idea of the time."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    monotonic = staticmethod(time.monotonic)

    def wall(self) -> Millis:
        """Return the milliseconds of the wall clock."""
        return Millis(time.time_ns() // 1_000_000)


class GroupClock:
    """The clock of one group, as this member can best tell."""

    def __init__(self, monotonic: Callable[[], float], applied: Millis) -> None:
        """``applied`` is the last stamp that the machine has."""
        self.applied = applied
        self._monotonic = monotonic
        self._base = applied
        self._since = monotonic()
        self._leads = False

    def now(self) -> Millis:
        """Return the group's time; as leader, the stamp for an entry proposed now."""
        return Millis(self._base + int((self._monotonic() - self._since) * 1_000))

    def lead(self, wall: Millis) -> None:
        """Begin to stamp: from the machine's clock, or ``wall``, the nodes' median, if later."""
        self._set(max(self.applied, wall))
        self._leads = True

    def follow(self) -> None:
        """Stamp no more; the time is that of the entries applied."""
        self._leads = False

    def observe(self, stamp: Millis) -> None:
        """Note that the machine has applied up to ``stamp``.

        A leader's own clock goes on by itself, unless an earlier leader was ahead of it.
        """
        self.applied = stamp
        if not self._leads or stamp > self.now():
            self._set(stamp)

    def _set(self, stamp: Millis) -> None:
        self._base, self._since = stamp, self._monotonic()


class PeerClocks:
    """When each peer was heard last, and how far its wall clock is from ours."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self._heard: dict[NodeId, float] = {}
        self._offsets: dict[NodeId, int] = {}

    def heard(self, node: NodeId) -> None:
        """Note that something came from ``node``."""
        self._heard[node] = self._monotonic()

    def told(self, node: NodeId, wall: Millis) -> None:
        """Note what ``node`` says the time is."""
        self._offsets[node] = wall - self._clock.wall()

    def lost(self, node: NodeId) -> None:
        """Forget the clock of a peer that is gone, but not when it was heard."""
        self._offsets.pop(node, None)

    def seconds_since(self, node: NodeId) -> float:
        """Return how long ``node`` has been silent; infinite if it was never heard."""
        heard = self._heard.get(node)
        return math.inf if heard is None else self._clock.monotonic() - heard

    def offsets(self) -> dict[NodeId, int]:
        """Return by how many milliseconds each connected peer's clock is ahead of ours."""
        return dict(self._offsets)

    def off_by(self) -> int:
        """Return by how much the median of all clocks, ours among them, is ahead of ours.

        With one peer nobody can say who is wrong: the answer is 0.
        """
        if len(self._offsets) < 2:
            return 0
        return median_low([0, *self._offsets.values()])

    def median(self) -> Millis:
        """Return the median of all wall clocks now, ours among them."""
        return Millis(self._clock.wall() + median_low([0, *self._offsets.values()]))
