"""From what somebody wants started to the command that starts it.

Owns the resolving: the version, the input as it is stored, the cells that are searched. Users and
messages between groups come through here alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.codec import pack
from raftoral.ids import MANAGEMENT, Index, RunId, Version
from raftoral.machines.commands import JOIN, StartRun

if TYPE_CHECKING:
    from raftoral.registry.loader import Loader
    from raftoral.runtime.deploying import Deploying
    from raftoral.runtime.routing import Routing


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of one node."""

    routing: Routing
    loader: Loader
    definitions: Deploying

    async def command(
        self,
        run_id: RunId,
        name: str,
        version: int | None,
        given: object,
        *,
        policy: str = JOIN,
        parent: bytes = b"",
        request: str = "",
    ) -> StartRun:
        """Return the command that starts a run; no version is the newest one there is now.

        Raises `UnknownDefinition` or `InvalidInput`, or `Unavailable` if nobody can tell.
        """
        definition = await self.definitions.find(name, version)
        checked = self.loader.checked_input(definition, given)
        return StartRun(
            run_id,
            definition.name,
            Version(definition.version),
            definition.meaning_hash,
            pack(checked, floats=True),
            Index(self.routing.applied(MANAGEMENT)),
            policy,
            parent,
            self.loader.search(definition),
            request,
        )
