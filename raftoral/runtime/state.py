"""What a node can say of the cluster from where it stands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raftoral.ids import MANAGEMENT
from raftoral.machines import management, runs
from raftoral.registry import catalog
from raftoral.runtime.views import ClusterView, GroupView, NodeView

if TYPE_CHECKING:
    from raftoral.ids import GroupId, NodeId
    from raftoral.kv import Reader
    from raftoral.runtime.engine import Engine


def node_views(engine: Engine) -> list[NodeView]:
    """Return every node of the cluster."""
    host = engine.host
    reader = host.groups[MANAGEMENT].state
    groups = _members_of_groups(reader)
    leaving = management.leaving(reader)
    connected = set(engine.transport.connected())
    voters = set(host.groups[MANAGEMENT].raw.status().conf.voters)
    leader = host.groups[MANAGEMENT].leader
    offsets = host.clock_offsets()
    owned: Counter[NodeId] = Counter()
    for executor in engine.executors.values():
        owned += executor.owners()
    views = []
    for node in management.nodes(reader):
        role = "voter" if node.id in voters else "learner"
        views.append(
            NodeView(
                id=node.id,
                name=node.name,
                address=node.address,
                http=node.http,
                alive=node.id == engine.node or node.id in connected,
                this=node.id == engine.node,
                role="leader" if node.id == leader else role,
                groups=[group for group, members in groups.items() if node.id in members],
                owned_runs=owned[node.id],
                clock_offset_ms=offsets.get(node.id, 0),
                leaving=node.id in leaving,
            )
        )
    return views


def _members_of_groups(reader: Reader) -> dict[GroupId, set[NodeId]]:
    """Return who each execution group has, as far as it told, or is meant to have."""
    found = {}
    for group, meant in management.groups(reader).items():
        told = management.placed(reader, group)
        found[group] = {*meant, *(told[1] if told is not None else ())}
    return found


def _group_view(engine: Engine, group: GroupId) -> GroupView:
    host = engine.host
    if group not in host.groups:
        members = management.groups(host.groups[MANAGEMENT].state).get(group, [])
        return GroupView(group, [*members], [], 0, 0, 0, 0, member=False)
    status = host.groups[group].raw.status()
    executor = engine.executors.get(group)
    return GroupView(
        id=group,
        members=sorted(status.conf.voters),
        learners=sorted(status.conf.learners),
        leader=status.leader,
        term=status.term,
        commit=status.commit,
        applied=status.applied,
        member=True,
        live_runs=0 if executor is None else executor.owners().total(),
    )


def _clock_warnings(engine: Engine) -> list[str]:
    host = engine.host
    if not host.clock_is_off:
        return []
    return ["this node's clock is far off its peers', so it does not lead; set the clock"]


def cluster_view(engine: Engine) -> ClusterView:
    """Return the cluster as a whole."""
    reader = engine.host.groups[MANAGEMENT].state
    groups = [MANAGEMENT, *sorted(management.groups(reader))]
    warnings = [*engine.warnings, *_clock_warnings(engine)]
    for group, executor in engine.executors.items():
        parked = list(runs.parked_ids(engine.host.groups[group].state))
        if parked:
            warnings.append(f"group {group}: {len(parked)} runs are parked; see `list`")
        stuck = [live for live in executor.live.values() if live.stuck]
        warnings += [f"run {live.run.id} stops on this node: {live.stuck}" for live in stuck[:10]]
    return ClusterView(
        cluster=engine.cluster,
        node=engine.node,
        name=engine.transport.local.name,
        data=engine.config.data or "",
        groups=[_group_view(engine, group) for group in groups],
        nodes=node_views(engine),
        definitions=sum(1 for _ in catalog.all_definitions(reader)),
        warnings=warnings,
    )
