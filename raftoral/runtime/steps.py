"""Small steps of a node's periodic work, each begun once and safe to repeat.

Owns what is under way. The rule it keeps: a step that does not come through is forgotten, not
remembered as done, so that a later look at what is begins it again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from raftoral.errors import RaftoralError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from raftoral.groups.host import Host
    from raftoral.ids import GroupId
    from raftoral.raft.messages import ConfChange

log = logging.getLogger("raftoral.manager")


class Steps:
    """The steps of one node, by group and name."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._busy: dict[tuple[GroupId, str], asyncio.Task[None]] = {}

    def propose(self, group: GroupId, what: str, command: bytes) -> None:
        """Put a command through a group's log."""
        self.once(group, what, lambda: self._host.propose(group, command, timeout=2.0))

    def change(self, group: GroupId, change: ConfChange) -> None:
        """Change a group's members; one change at a time."""
        self.once(
            group, "members", lambda: self._host.propose_conf_change(group, change, timeout=5.0)
        )

    def once(
        self, group: GroupId, what: str, work: Callable[[], Coroutine[object, object, object]]
    ) -> None:
        """Begin a step unless the same one is still under way."""
        key = (group, what)
        if key in self._busy:
            return
        task = asyncio.get_running_loop().create_task(_quietly(what, work()))
        self._busy[key] = task
        task.add_done_callback(lambda _: self._busy.pop(key, None))

    def close(self) -> None:
        """Stop what is under way."""
        for task in list(self._busy.values()):
            task.cancel()


async def _quietly(what: str, work: Coroutine[object, object, object]) -> None:
    """A step that does not come through is seen and repeated by a later tick."""
    try:
        await work
    except Unavailable as error:
        log.debug("%s: %s", what, error)
    except RaftoralError as error:
        log.warning("%s: %s", what, error)
