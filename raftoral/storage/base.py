"""The store of one node: whom it belongs to, its groups, and the one write for all of them.

The rules it keeps, over one `Disk`: one `flush` is one batch for all groups; a record that is not
what was written is never returned; after the first failed write nothing more is written.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from raftoral.errors import StorageFailed, UsageError
from raftoral.ids import GroupId, NodeId
from raftoral.storage import records
from raftoral.storage.group import GroupStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.storage.disk import Batch, Disk

FORMAT: Final = 1
"""The version of the stored format; a newer one is refused."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a store belongs to: its cluster, and the node's number and name in it."""

    cluster: str
    node: NodeId
    name: str
    format: int = FORMAT


class NodeStore:
    """Everything one process stores, over one disk."""

    def __init__(self, disk: Disk, *, clock: Callable[[], float] = perf_counter) -> None:
        """Open the store on ``disk``; ``clock`` gives seconds and measures the syncs.

        Raises `CorruptionError` or, if a newer version wrote it, `UsageError`.
        """
        self.sync_seconds = 0.0
        """How long the last sync took."""
        self._disk = disk
        self._clock = clock
        self._groups: dict[GroupId, GroupStore] = {}
        self.dirty: dict[GroupId, GroupStore] = {}
        """The groups that have something to flush; for this package only."""
        self._unsynced = False
        self._failure: StorageFailed | None = None
        self._identity = self._read_identity()

    @property
    def path(self) -> str | None:
        """The folder of the store; None if it is in memory."""
        return self._disk.path

    # -------------------------------------------------------------- identity
    def identity(self) -> Identity | None:
        """Return whom the store belongs to; None if it is new."""
        return self._identity

    def set_identity(self, identity: Identity) -> None:
        """Store ``identity``, synced; `UsageError` if the store already has another one."""
        if self._identity is not None and self._identity != identity:
            raise UsageError(
                f"the store in {self.path} belongs to node {self._identity.node} of cluster "
                f"{self._identity.cluster}; use another folder for this node, or remove that one"
            )
        key = records.IDENTITY_KEY
        fields = [identity.format, identity.cluster, identity.node, identity.name]
        batch = self._disk.batch()
        batch.put(key, records.seal(key, fields))
        self.write(batch, sync=True)
        self._identity = identity

    def _read_identity(self) -> Identity | None:
        key = records.IDENTITY_KEY
        data = self._disk.get(key)
        if data is None:
            return None
        # The format stands first: nothing behind it is known before it is checked.
        version, *fields = records.unseal(key, data, self.path)
        if version != FORMAT:
            raise UsageError(
                f"the store in {self.path} has format {version}, this version of Raftoral reads "
                f"format {FORMAT}; start it with the version that wrote it, or a newer one"
            )
        cluster, node, name = fields
        return Identity(cluster, NodeId(node), name, version)

    @property
    def is_retired(self) -> bool:
        """Whether the node has left its cluster, so that the store is of no more use."""
        data = self._disk.get(records.RETIRED_KEY)
        if data is None:
            return False
        records.unseal(records.RETIRED_KEY, data, self.path)
        return True

    def retire(self) -> None:
        """Remove all groups and note that the node has left its cluster, in one synced batch."""
        batch = self._disk.batch()
        for group in self.groups():
            batch.delete_range(records.group_prefix(group), records.group_end(group))
        batch.put(records.RETIRED_KEY, records.seal(records.RETIRED_KEY, []))
        for store in self._groups.values():
            store.abandon()
        self._groups.clear()
        self.dirty.clear()
        self.write(batch, sync=True)

    # -------------------------------------------------------------- groups
    def groups(self) -> list[GroupId]:
        """Return the groups that are stored or open, ascending."""
        found = set(self._groups)
        low = records.group_prefix(GroupId(0))
        while (first := next(self._disk.scan(low, records.NODE), None)) is not None:
            group = GroupId(int.from_bytes(first[0][:4], "big"))
            found.add(group)
            low = records.group_end(group)
        return sorted(found)

    def group(self, group: GroupId) -> GroupStore:
        """Return the store of ``group``, opened or created empty; always the same object.

        Opening reads the whole log once; `CorruptionError` names the entry that is damaged or
        missing. What a crash left of an import is removed here.
        """
        store = self._groups.get(group)
        if store is None:
            store = self._groups[group] = GroupStore(self, self._disk, group)
        return store

    def drop(self, group: GroupId) -> None:
        """Remove all that ``group`` ever stored, synced; its open store must not be used again."""
        store = self._groups.pop(group, None)
        if store is not None:
            store.abandon()
        self.dirty.pop(group, None)
        batch = self._disk.batch()
        batch.delete_range(records.group_prefix(group), records.group_end(group))
        self.write(batch, sync=True)

    # -------------------------------------------------------------- writing
    def flush(self, *, sync: bool) -> None:
        """Write what all groups have buffered, as one batch; with ``sync``, wait for the disk.

        A sync covers all that was ever flushed. Raises `StorageFailed` if a write or sync fails,
        and at every later call: after a failed sync nobody knows what the disk holds.
        """
        self._check()
        if self.dirty:
            batch = self._disk.batch()
            for store in self.dirty.values():
                store.collect(batch)
            self.dirty.clear()
            self.write(batch, sync=sync)
        elif sync and self._unsynced:
            self.write(None, sync=True)

    def close(self) -> None:
        """Flush, sync and let go of the disk; after a failure, let go only."""
        failed = self._failure is not None
        try:
            if not failed:
                self.flush(sync=True)
        finally:
            self._failure = self._failure or StorageFailed("the store is closed")
            self._groups.clear()
            # The disk complains again about what it has complained of.
            with suppress(StorageFailed) if failed else nullcontext():
                self._disk.close()

    # -------------------------------------------------------------- for this package only
    def write(self, batch: Batch | None, *, sync: bool) -> None:
        """Write ``batch`` (None: nothing new) to the disk; the first failure is the last write."""
        self._check()
        started = self._clock()
        try:
            if batch is not None:
                self._disk.write(batch, sync=sync)
            else:
                self._disk.sync()
        except StorageFailed as failure:
            self._failure = failure
            raise
        self._unsynced = not sync
        if sync:
            self.sync_seconds = self._clock() - started

    def _check(self) -> None:
        if self._failure is not None:
            raise StorageFailed(
                f"the store takes nothing more, since this happened: {self._failure}; "
                "see to the disk and start the node again"
            )
