"""An execution group under test, and messages that are carried by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftoral.codec import pack
from raftoral.ids import SLOTS, Epoch, Index, Millis, NodeId, Position, RunId, Version
from raftoral.kv import MemoryKeyValue
from raftoral.machines import callbacks, commands, outbox, runs
from raftoral.machines.execution import Execution
from raftoral.machines.outbox import Begin, Say
from raftoral.replay import history
from raftoral.replay.history import encode
from tests.machines.checks import check_indexes

if TYPE_CHECKING:
    from raftoral.machines.base import Result

R = RunId("r")
FAILED: Any = ["Broken", "why", {}]


class Group:
    """A group under test: each call applies one command and returns its result."""

    def __init__(self, members: int = 3) -> None:
        self.state = MemoryKeyValue()
        self.machine = Execution()
        self.index = 0
        self.now = 1_000
        self.events: list[Any] = []
        self.apply(commands.OwnSlots(b"\xff" * (SLOTS // 8)))
        for node in range(1, members + 1):
            self.apply(commands.Publish(NodeId(node), "boot"))

    def apply(self, command: commands.Command | bytes, at: int | None = None) -> Result:
        """Apply a command at a time, ``now`` if none is given."""
        self.index += 1
        data = command if isinstance(command, bytes) else command.encode()
        when = Millis(self.now if at is None else at)
        result, events = self.machine.apply(Index(self.index), when, data, self.state)
        self.events = list(events)
        check_indexes(self.state)
        return result

    def start(self, run_id: str = "r", name: str = "w", given: object = 1) -> Result:
        """Start a run."""
        bytes_ = pack({"x": given})
        return self.apply(commands.StartRun(RunId(run_id), name, Version(1), "m", bytes_, Index(0)))

    def settle(self, *events: history.Event, run_id: str = "r", **other: int) -> Result:
        """Settle events at the current end in the name of the current owner."""
        run = self.run(run_id)
        epoch = Epoch(other.get("epoch", run.epoch))
        base = Position(other.get("base", run.length))
        return self.apply(
            commands.Settle(
                RunId(run_id), epoch, base, run.chain, [encode(each) for each in events]
            )
        )

    def signal(self, name: str, signal_id: str, payload: Any = 1, run_id: str = "r") -> Result:
        """Send a signal."""
        return self.apply(commands.Signal(RunId(run_id), name, signal_id, pack(payload)))

    def run(self, run_id: str = "r") -> runs.Run:
        """Return the record of a run."""
        run = runs.find(self.state, RunId(run_id))
        assert run is not None
        return run

    # ------------------------------------------------------------------ what is said in tests
    def history(self, run_id: str = "r") -> list[history.Event]:
        """Return the events of a run."""
        return [history.decode(data) for data in runs.history(self.state, RunId(run_id))]

    def kinds(self, run_id: str = "r") -> list[str]:
        """Return the kinds of the events of a run."""
        return [type(event).__name__ for event in self.history(run_id)]

    def told(self) -> list[str]:
        """Return the kinds of what the last command made happen."""
        return [type(event).__name__ for event in self.events]

    def ask(self, path: str = "kid", run_id: str = "r", **other: Any) -> Result:
        """Have a run ask for a child."""
        child = f"{run_id}/{self.run(run_id).generation}/{path}"
        closing, detached = other.get("close", "cancel"), other.get("detached", False)
        asked = history.ChildAsked(path, child, "w", 0, {"n": 1}, closing, detached)
        return self.settle(asked, run_id=run_id)

    def open(self, path: str = "cb", run_id: str = "r", due: int = 0, beat: int = 0) -> str:
        """Open a callback and return its token."""
        run = self.run(run_id)
        token = callbacks.Token(run.id, run.generation, path, bytes(16)).encode()
        opened = history.CallbackOpened(path, token, Millis(due), beat)
        assert self.settle(opened, run_id=run_id)[0] == "ok"
        return token

    def waiting(self) -> dict[int, Begin | Say]:
        """Return the messages of the outbox."""
        return dict(outbox.messages(self.state))

    def said(self) -> list[commands.Command]:
        """Return the commands that wait in the outbox for other groups."""
        messages = self.waiting().values()
        return [commands.decode(each.command) for each in messages if isinstance(each, Say)]


def command_of(message: Begin | Say) -> bytes:
    """Return what a leader proposes for a message, if version 1 of the workflow is deployed."""
    if isinstance(message, Say):
        return message.command
    return commands.StartRun(
        message.run_id,
        message.name,
        Version(1),
        "m",
        message.input,
        Index(0),
        parent=message.parent,
    ).encode()
