"""The knobs of a host, each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """How a node drives its groups. The same on every node of a cluster."""

    tick_ms: int = 50
    heartbeat_ticks: int = 2
    election_ticks: int = 10
    """Shortest wait for a leader's sign of life; the longest is twice as much."""

    pre_vote: bool = True
    """Whether a node asks whether it could win before it stands; see `raft.elections`."""

    log_entries_max: int = 10_000
    """A log that holds more applied entries than this is compacted."""
    log_entries_margin: int = 1_000
    """How many applied entries stay behind for followers that lag a little."""
    log_bytes_max: int = 64 * 1024 * 1024
    """A log that grew by more than this since it was compacted is compacted."""

    message_bytes_max: int = 256 * 1024
    uncommitted_bytes_max: int = 16 * 1024 * 1024

    retry_first_ms: int = 10
    retry_max_ms: int = 50
    """Pauses before a proposal that found no leader is made again."""
    silence_max_ms: int = 3_000
    """A connected peer that says nothing for longer is hung up on and dialled again."""
    snapshot_stall_ms: int = 10_000
    """A snapshot whose receiver acknowledges nothing for longer is given up."""
    snapshot_bytes_per_s: int = 32 * 1024 * 1024
    """How fast one snapshot is sent at most, so that the commits of the others go on as before."""
    clock_off_max_ms: int = 10_000
    """A node whose wall clock is further off its peers' median does not lead."""
    slow_disk_reign_ms: int = 5_000
    """A leader with a slow disk leads at least this long,"""
    slow_disk_pause_ms: int = 30_000
    """and hands a group over at most once in this time: perhaps every disk is slow."""

    @property
    def election_seconds(self) -> float:
        """The shortest election timeout."""
        return self.tick_ms * self.election_ticks / 1_000
