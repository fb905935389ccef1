"""What users ask of runs, on any node: start one, send it something.

Owns the checks before a command goes on its way: the definition, the types, the names. The rule it
keeps: every command carries an id, made here if the user gives none, so that repeating it is safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from raftoral.codec import pack
from raftoral.errors import UsageError
from raftoral.ids import MANAGEMENT, Index, RunId, Version
from raftoral.machines import runs
from raftoral.machines.commands import Signal, StartRun

if TYPE_CHECKING:
    from raftoral.registry.loader import Loader
    from raftoral.runtime.deploying import Deploying
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing

NAME_LENGTH_MAX: Final = 200


class Requests:
    """The requests of one node; all methods belong to the node's loop."""

    def __init__(
        self, routing: Routing, loader: Loader, definitions: Deploying, lookup: Lookup
    ) -> None:
        self._routing = routing
        self._loader = loader
        self._definitions = definitions
        self._lookup = lookup

    async def start(
        self, name: str, given: object, *, run_id: str | None, version: int | None
    ) -> RunId:
        """Start a run, or join the one of the same id, workflow and input; return its id.

        The version is fixed now. `RunConflict` if the id names another run.
        """
        definition = await self._definitions.find(name, version)
        checked = self._loader.checked_input(definition, given)
        chosen = runs.check_run_id(run_id if run_id is not None else f"{name}-{uuid4().hex[:12]}")
        command = StartRun(
            chosen,
            definition.name,
            Version(definition.version),
            definition.meaning_hash,
            pack(checked, floats=True),
            Index(self._routing.applied(MANAGEMENT)),
        )
        await self._routing.propose(self._routing.group_of(chosen), command.encode())
        return chosen

    async def signal(self, run_id: str, name: str, payload: object, signal_id: str | None) -> None:
        """Put a signal into a run's mailbox; the same ``signal_id`` is one signal."""
        chosen = runs.check_run_id(run_id)
        mark = signal_id if signal_id is not None else uuid4().hex
        for text in (name, mark):
            if not text or "/" in text or len(text) > NAME_LENGTH_MAX:
                raise UsageError(
                    f"{text!r:.60} cannot name a signal: use 1 to {NAME_LENGTH_MAX} characters "
                    "without '/'"
                )
        view = await self._lookup.show(chosen, local=True)
        definition = await self._definitions.find(view.name, view.version)
        checked = self._loader.checked_signal(definition, name, payload)
        command = Signal(chosen, name, mark, pack(checked, floats=True))
        await self._routing.propose(self._routing.group_of(chosen), command.encode())
