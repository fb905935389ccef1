"""The log as the core sees it: what is stored, and behind it what is not stored yet.

Owns the indexes `committed` and `applied` and the entries that are still in memory. Never writes:
whoever takes a `Ready` stores its entries and tells by `stored_to`. The rule it keeps: a committed
entry is never replaced. Entries stay in memory for a while after they were stored and applied, so
that sending them to a follower reads no disk.

Source: Raft paper, sections 5.3 and 5.4; thesis section 10.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from raftoral.raft.messages import NUMBER_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.ids import Index, Term
    from raftoral.raft.messages import ConfState, Entry, HardState, Snapshot

NO_LIMIT: Final = NUMBER_MAX
ENTRY_OVERHEAD_BYTES: Final = 16
"""What an entry counts beyond its data where bytes are limited."""


class CompactedError(LookupError):
    """The entry is gone: a snapshot stands for it."""


class MissingError(LookupError):
    """The entry is not there (yet)."""


class SnapshotNotReadyError(LookupError):
    """No snapshot can be had just now; ask again later."""


class LogReader(Protocol):
    """Read access to one group's stored log; what was appended is readable at once."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return what was stored before the start; the configuration is that of `applied`."""
        ...

    def first_index(self) -> Index:
        """Return the first index that is still there, or would be if any were."""
        ...

    def last_index(self) -> Index:
        """Return the last index; one less than `first_index` if no entry is there."""
        ...

    def term(self, index: Index) -> Term:
        """Return the term of the entry at ``index``, from ``first_index - 1`` to the last.

        Raises `CompactedError` below that and `MissingError` above.
        """
        ...

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries of [low, high), cut to ``bytes_max`` of data but at least one.

        Raises `CompactedError` if ``low`` is below the first, `MissingError` if ``high - 1`` is
        above the last.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot, with or without its data; `SnapshotNotReadyError`."""
        ...
