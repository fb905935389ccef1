"""The way of a request into a group's log, and what becomes of a refusal."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from raftoral import errors
from raftoral.errors import NodeStopped, ProposalUnknown, RunConflict, Unavailable
from raftoral.ids import GroupId
from raftoral.machines import execution
from raftoral.runtime.routing import Routing, refusal_of
from tests.virtual import run

if TYPE_CHECKING:
    from raftoral.groups.host import Host
    from raftoral.transport.base import Transport

MACHINES = Path(execution.__file__).parent
OWNERS = {"stale", "early"}
"""What only owners and leaders meet, who look again; no user is told it."""


class FakeHost:
    """Answers proposals one after the other."""

    node = 1

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.commands: list[bytes] = []

    async def propose(self, _group: GroupId, command: bytes, timeout: float) -> Any:
        """Give the next answer, or raise it."""
        assert timeout > 0
        self.commands.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def routing(host: FakeHost, timeout_s: float = 5.0) -> Routing:
    """Return the ways from a node over that host."""
    return Routing(cast("Host", host), cast("Transport", None), timeout_s=timeout_s, election_s=1.0)


def test_every_refusal_of_a_machine_is_an_error_of_its_own() -> None:
    """Each code that stands in a machine is that of an error class."""
    known = errors.plain_kinds()
    text = "".join(path.read_text() for path in MACHINES.glob("*.py"))
    codes = set(re.findall(r'Refused\(\s*"(\w+)"', text))
    codes |= set(re.findall(r'\["refused", "(\w+)"', text))
    assert len(codes) > 8
    assert codes - known.keys() == OWNERS
    for code in codes - OWNERS:
        error = refusal_of(["refused", code, "what to do"])
        assert (type(error), str(error)) == (known[code], "what to do")


def test_a_proposal_whose_fate_is_unknown_is_repeated() -> None:
    """The same bytes are proposed until there is an answer."""
    host = FakeHost(ProposalUnknown("lost"), ProposalUnknown("lost"), ["ok", 1])
    result = asyncio.run(routing(host).propose(GroupId(1), b"command"))
    assert result == ["ok", 1]
    assert host.commands == [b"command"] * 3


def test_a_slot_that_moves_is_waited_for() -> None:
    """A group that does not own the slot yet is asked again; at last it is told."""
    moving = ["refused", "wrong_group", "slot 7 belongs to another group"]
    host = FakeHost(moving, moving, ["ok"])
    assert asyncio.run(routing(host).propose(GroupId(1), b"c")) == ["ok"]
    with pytest.raises(errors.WrongGroup):
        run(routing(FakeHost(moving), timeout_s=-1.0).propose(GroupId(1), b"c"))


def test_a_refusal_and_a_stop_are_told_at_once() -> None:
    """Nothing is repeated that was refused, or that this node can bring nowhere any more."""
    refused = FakeHost(["refused", "run_conflict", "taken"])
    with pytest.raises(RunConflict, match="taken"):
        run(routing(refused).propose(GroupId(1), b"c"))
    stopped = FakeHost(NodeStopped("this node was stopped"))
    with pytest.raises(NodeStopped):
        run(routing(stopped).propose(GroupId(1), b"c"))
    unknown = FakeHost(ProposalUnknown("lost"))
    with pytest.raises(Unavailable):
        run(routing(unknown, timeout_s=-1.0).propose(GroupId(1), b"c"))
    assert [len(each.commands) for each in (refused, stopped, unknown)] == [1, 1, 1]
