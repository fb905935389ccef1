"""Test workflows in plain pytest: in process, on a virtual clock, with the engine's own rules.

`run` runs one workflow with mocked activities, `crash_at_every_event` does so with a crash at each
place where a process may die, `run_twice` in processes that order their sets otherwise, and `replay`
holds a stored history against the code. `run_trial` runs a test block of a `.rwf` file,
`crash_trial` with a crash behind each of its events, `fault_trial` with each failure of each
attempt; `Coverage` notes what they reach. `World` is the cluster in memory below them.
"""

from raftoral.testing.again import run_twice
from raftoral.testing.coverage import Coverage, Covered
from raftoral.testing.crashing import crash_at_every_event, crash_trial
from raftoral.testing.faults import fault_trial
from raftoral.testing.histories import replay
from raftoral.testing.mocks import Takes
from raftoral.testing.running import InTurn, Request, Signal, Tested, run, rwf
from raftoral.testing.trials import Verdict, run_trial
from raftoral.testing.world import World

__all__ = [
    "Coverage",
    "Covered",
    "InTurn",
    "Request",
    "Signal",
    "Takes",
    "Tested",
    "Verdict",
    "World",
    "crash_at_every_event",
    "crash_trial",
    "fault_trial",
    "replay",
    "run",
    "run_trial",
    "run_twice",
    "rwf",
]
