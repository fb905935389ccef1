"""Lets a run go on from an earlier place: the same one after it failed, or another one beside it.

Owns no history: what is kept of it is decided by the machine (`raftoral.machines.generations`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftoral.errors import UsageError
from raftoral.ids import MANAGEMENT, Index, Position, RunId, Version
from raftoral.machines import runs
from raftoral.machines.commands import Adopt, RetryRun
from raftoral.values import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.runtime.histories import Histories
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.starts import Starts


@dataclass(frozen=True, slots=True)
class Forking:
    """The retries and forks of one node."""

    lookup: Lookup
    histories: Histories
    starts: Starts
    unique: Callable[[], str]
    """Makes a text that nobody makes again."""

    async def retry(self, run_id: str, generation: int | None) -> int:
        """Let a run that ended and did not complete go on; return the generation that does.

        ``generation`` is the one that failed: repeated, a retry of it changes nothing more. None is
        the one there is now.
        """
        chosen = runs.check_known_id(run_id)
        if generation is not None and not 0 <= generation <= INT_MAX:
            raise UsageError(f"generations are counted from 0; {generation} is none")
        if generation is None:
            generation = (await self.lookup.show(chosen)).generation
        routing = self.starts.routing
        command = RetryRun(chosen, generation).encode()
        result = await routing.propose(routing.group_of(chosen), command)
        return int(result[2])

    async def fork(
        self, source_id: str, position: int, run_id: str | None, version: int | None
    ) -> RunId:
        """Begin a run with the first ``position`` events of another one; return its id.

        It goes on under the same version, or under another one that fits those events.
        """
        if position < 1:
            raise UsageError(f"a fork takes over 1 event of the run or more, not {position}")
        source, events = await self.histories.beginning(source_id, position)
        definition = await self.starts.definitions.find(source.name, version or source.version)
        made = f"{source_id.replace('/', '.')[:150]}-fork-{self.unique()}"
        chosen = runs.check_run_id(run_id if run_id is not None else made)
        routing = self.starts.routing
        command = Adopt(
            chosen,
            RunId(source.id),
            Position(position),
            source.generation,
            definition.name,
            Version(definition.version),
            definition.meaning_hash,
            Index(routing.applied(MANAGEMENT)),
            events,
            self.starts.loader.search(definition),
        )
        await routing.propose(routing.group_of(chosen), command.encode())
        return chosen
