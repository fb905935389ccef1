"""What may go wrong, how often and how badly: one frozen value a run.

Owns names and numbers. Never does harm itself: `chaos` and the simulated network and disk do. A
rate counts events in a second of virtual time; a probability is one of 0 to 1 for each occasion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults of one run; the defaults are none at all."""

    # network
    loss: float = 0.0
    """Probability that a frame is lost on a living connection."""
    duplication: float = 0.0
    """Probability that a Raft frame arrives twice."""
    reorder: float = 0.0
    """Probability that a Raft frame arrives later than those behind it."""
    delay_ms: float = 1.0
    """Mean delay of a frame beyond the shortest, exponential."""
    partition_rate: float = 0.0
    one_way: float = 0.5
    """Probability that a partition works in one direction only."""
    isolation: float = 0.3
    """Probability that a partition cuts off a single node."""
    clog_rate: float = 0.0
    """Clogging: one direction of one link delivers nothing for a while, then everything."""
    disconnect_rate: float = 0.0
    """Loss of one connection, with what is on its way."""

    # processes
    crash_rate: float = 0.0
    crash_inside: float = 0.5
    """Probability that a crash comes inside a write, a sync or a send, not between two turns."""
    crash_all: float = 0.02
    """Probability that a crash takes every node at once."""
    pause_rate: float = 0.0
    clock_rate: float = 0.0
    """How often a node's wall clock is set to another time."""

    # disks
    torn: float = 0.5
    """Probability that a crash leaves some of the batches that were not synced."""
    keeps_all: bool = False
    """A crash loses nothing that was handed out, as after kill -9 between two turns."""
    slow_sync: float = 0.0
    """Probability that a sync takes up to a second."""
    disk_failure_rate: float = 0.0
    """How often a disk begins to refuse, or to fail after taking, until its process stops."""
    bit_flip_rate: float = 0.0

    # operators
    membership_rate: float = 0.0
    transfer_rate: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """What is switched on in this run, for its report."""
        return tuple(
            field.name
            for field in fields(self)
            if getattr(self, field.name) != field.default and field.name != "delay_ms"
        )


CALM = Faults()


def some_faults(random: Random) -> Faults:
    """Return a choice of faults: each kind is on in about two runs of three.

    Leaving kinds out finds what their noise would hide.
    """

    def maybe(low: float, high: float) -> float:
        return random.uniform(low, high) if random.random() < 0.65 else 0.0

    return Faults(
        loss=maybe(0.001, 0.08),
        duplication=maybe(0.001, 0.1),
        reorder=maybe(0.001, 0.1),
        delay_ms=random.choice((0.5, 2.0, 10.0, 40.0)),
        partition_rate=maybe(0.02, 0.25),
        clog_rate=maybe(0.02, 0.3),
        disconnect_rate=maybe(0.02, 0.5),
        crash_rate=maybe(0.02, 0.4),
        pause_rate=maybe(0.02, 0.2),
        clock_rate=maybe(0.01, 0.1),
        slow_sync=maybe(0.0005, 0.005),
        disk_failure_rate=maybe(0.01, 0.06),
        bit_flip_rate=maybe(0.01, 0.1),
        membership_rate=maybe(0.1, 1.0),
        transfer_rate=maybe(0.05, 0.3),
    )


def traceable_faults(random: Random) -> Faults:
    """Return a choice of those faults that a trace can be written of; see `raftoral.raft.trace`."""
    return Faults(
        loss=random.choice((0.0, 0.02)),
        reorder=random.choice((0.0, 0.02)),
        delay_ms=random.choice((0.5, 5.0, 20.0)),
        partition_rate=random.uniform(0.0, 0.2),
        clog_rate=random.uniform(0.0, 0.1),
        disconnect_rate=random.uniform(0.0, 0.2),
        crash_rate=random.uniform(0.1, 0.4),
        crash_inside=0.0,
        crash_all=0.0,
        pause_rate=random.uniform(0.0, 0.1),
        keeps_all=True,
        membership_rate=random.uniform(0.3, 1.0),
        transfer_rate=random.uniform(0.0, 0.1),
    )
