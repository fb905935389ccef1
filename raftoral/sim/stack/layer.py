"""The whole stack as a layer of the simulator's command line."""

from __future__ import annotations

from typing import Final

from raftoral.sim.soak import Layer
from raftoral.sim.stack.cluster import StackCluster

RARE: Final = (
    "asked to cancel",
    "asked to pause",
    "asked to resume",
    "asked to terminate",
    "clocks set",
    "connections lost",
    "crashes",
    "crashes of all",
    "disks failed",
    "elections won",
    "frames cut",
    "frames doubled",
    "frames lost",
    "frames reordered",
    "late copies",
    "leadership handed over",
    "links clogged",
    "logs truncated",
    "owners changed",
    "partitions",
    "partitions one way",
    "pauses",
    "refused: not_leader",
    "refused: proposal_unknown",
    "refused: run_ended",
    "repeated with the same id",
    "restarts",
    "runs cancelled",
    "runs completed",
    "runs terminated",
    "settled: Asked",
    "settled: ChildAsked",
    "settled: ChildDone",
    "settled: Closed",
    "settled: Done",
    "settled: Opened",
    "settled: Taken",
    "settled: TimerFired",
    "signals acknowledged",
    "snapshots installed",
    "starts acknowledged",
    "waits answered",
)
"""What a long soak must have seen; what stays at zero was not tested."""

WORKFLOWS: Final = Layer("workflows", StackCluster, RARE)
