"""Definitions as users bring them, and as requests need them: deployed, listed, found.

Owns nothing: group 0 holds the definitions. The rule it keeps: before a definition is said not to
be there, the leader of group 0 was asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from raftoral.errors import DefinitionRefused, UnknownDefinition
from raftoral.ids import MANAGEMENT
from raftoral.lang.compile import compile_source
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.machines.commands import DeployVersion
from raftoral.registry import catalog
from raftoral.registry.definition import Definition, python_definition, rwf_definition
from raftoral.runtime.views import DefinitionView

if TYPE_CHECKING:
    from raftoral.kv import Reader
    from raftoral.replay.effects import Workflow
    from raftoral.runtime.routing import Routing


class Deploying:
    """The registry as one node sees it."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    async def deploy_text(self, path: str, text: str) -> list[DefinitionView]:
        """Compile a `.rwf` source and deploy every workflow in it; `DefinitionRefused` shows why not."""
        # A large text takes longer than an election timeout, and the loop has heartbeats to send.
        compiled = await asyncio.to_thread(compile_source, Source(path, text))
        if any(each.severity == "error" for each in compiled.diagnostics):
            raise DefinitionRefused(render_all(compiled.diagnostics, Source(path, text)))
        if not compiled.units:
            raise DefinitionRefused(f"{path} holds no workflow, so there is nothing to deploy")
        return [await self.deploy(rwf_definition(unit)) for unit in compiled.units]

    async def deploy_python(self, workflow: Workflow[Any, Any]) -> DefinitionView:
        """Deploy a Python workflow: its name, version and the hash of its code."""
        return await self.deploy(python_definition(workflow))

    async def deploy(self, definition: Definition) -> DefinitionView:
        """Put a definition into the registry; the same meaning again changes nothing."""
        command = DeployVersion(definition.encode()).encode()
        result = await self._routing.propose(MANAGEMENT, command)
        return _view(definition, new=bool(result[1]))

    def definitions(self) -> list[DefinitionView]:
        """Return every deployed version, by name."""
        return [_view(each) for each in catalog.all_definitions(self._routing.topology)]

    def known(self, name: str, version: int) -> Definition | None:
        """Return a definition if this node knows it already."""
        return catalog.find(self._routing.topology, name, version)

    async def find(self, name: str, version: int | None) -> Definition:
        """Return a deployed definition, the newest if no version is given."""
        reader = self._routing.topology
        if version is None:
            await self._routing.barrier(MANAGEMENT)
        found = catalog.find(reader, name, version)
        if found is None and version is not None:
            await self._routing.barrier(MANAGEMENT)
            found = catalog.find(reader, name, version)
        if found is None:
            raise UnknownDefinition(_unknown(reader, name, version))
        return found


def _view(definition: Definition, *, new: bool = False) -> DefinitionView:
    return DefinitionView(
        definition.name, definition.version, definition.kind, definition.meaning_hash, new
    )


def _unknown(reader: Reader, name: str, version: int | None) -> str:
    known = sorted({each.name for each in catalog.all_definitions(reader)})
    if version is not None and name in known:
        newest = catalog.find(reader, name)
        assert newest is not None
        return f"workflow {name} has no version {version}; the newest is {newest.version}"
    deployed = f"deployed are: {', '.join(known[:10])}" if known else "nothing is deployed yet"
    return f"no workflow is called {name!r}; {deployed}. Deploy it with `raftoral deploy FILE`"
