"""Commands as bytes: what is written comes back, and nothing else is a command."""

from __future__ import annotations

from dataclasses import MISSING
from dataclasses import fields as dataclass_fields
from random import Random
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from raftoral.codec import pack_record
from raftoral.errors import UsageError
from raftoral.ids import Epoch, GroupId, Index, Millis, NodeId, Position, RunId, Version
from raftoral.machines import commands

if TYPE_CHECKING:
    from raftoral.machines.commands import Command

EVERY: list[Command] = [
    commands.StartRun(RunId("r-1"), "order", Version(2), "abc", b"\x80", Index(9)),
    commands.Settle(RunId("r-1"), Epoch(3), Position(4), b"chain", [b"a", b""]),
    commands.Many([b"x", b"y"]),
    commands.Signal(RunId("r-1"), "approve", "s-1", b"\xc0"),
    commands.Cancel(RunId("r-1"), "because", "q-1"),
    commands.Terminate(RunId("r-1"), ""),
    commands.Pause(RunId("r-1"), "because", "q-1"),
    commands.Resume(RunId("r-1"), "q-2"),
    commands.RetryRun(RunId("r-1"), 3),
    commands.Adopt(
        RunId("r-2"), RunId("r-1"), Position(2), 3, "w", Version(1), "m", Index(4), [b"a"], ["x"]
    ),
    commands.Update(RunId("r-1"), "add", "u-1", b"\xc0"),
    commands.CompleteCallback("token", True, b"\xc0"),
    commands.BeatCallback("token"),
    commands.Delivered(1, 7, 5, b"x"),
    commands.Passed(1, 7),
    commands.OutboxDone([1, 2]),
    commands.ChildDone(RunId("r-1"), 2, "call", Index(9), False, b"\x93"),
    commands.PutSchedule("nightly", b"spec", Index(0), Millis(1_000)),
    commands.PauseSchedule("nightly", "because", "q-1"),
    commands.ResumeSchedule("nightly", Millis(1_000)),
    commands.DropSchedule("nightly", Index(3)),
    commands.Fired("nightly", Index(3), Millis(1_000), Millis(2_000), 5),
    commands.Backfill("nightly", Index(3), [1_000, 2_000]),
    commands.ScheduledEnded("nightly", RunId("nightly@x")),
    commands.Publish(NodeId(2), "boot-1"),
    commands.TakeOver(NodeId(2), [NodeId(1), NodeId(3)], 1_000),
    commands.HandOver(RunId("r-1"), Epoch(3), "because", NodeId(0)),
    commands.OwnSlots(b"\xff" * 128),
    commands.Forget(1000, 10, 5),
    commands.FormCluster("c-1", 4),
    commands.AddNode("nonce", "name", "127.0.0.1:1", ""),
    commands.MoveNode(NodeId(1), "127.0.0.1:2", "127.0.0.1:3"),
    commands.RemoveNode(NodeId(2), [NodeId(1), NodeId(3)]),
    commands.FillGroups([NodeId(1), NodeId(3)]),
    commands.Placed(GroupId(1), Index(9), [NodeId(1), NodeId(3)]),
    commands.ForgetNode(NodeId(2)),
    commands.DeployVersion(b"definition"),
]


def test_every_command_is_in_the_list() -> None:
    """A new command without a case here is a mistake of this file."""
    assert {type(each) for each in EVERY} == set(commands.ALL)


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.tag)
def test_a_command_comes_back_from_its_bytes(command: Command) -> None:
    """Decoding what was encoded gives an equal command."""
    assert commands.decode(command.encode()) == command


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.tag)
def test_a_field_of_another_type_is_refused(command: Command) -> None:
    """Each field, put into any other type, too few and too many fields: all are `UsageError`."""
    fields = [getattr(command, name) for name in command.__match_args__]
    others: list[Any] = [None, True, -1, 2**63, 1.5, "x", b"x", [None], [1.5], {}, [["x"]]]
    for place, good in enumerate(fields):
        for other in others:
            if (
                type(other) is type(good)
                and not isinstance(good, list)
                and other not in (-1, 2**63)
            ):
                continue
            changed = [*fields]
            changed[place] = other
            with pytest.raises(UsageError):
                commands.decode(msgpack.packb([command.tag, *changed]))
    needed = [each for each in dataclass_fields(command) if each.default is MISSING]
    needed = [each for each in needed if each.default_factory is MISSING]
    for wrong in (fields[: len(needed) - 1], [*fields, None]):
        with pytest.raises(UsageError):
            commands.decode(pack_record([command.tag, *wrong]))


def test_an_entry_from_before_a_field_was_there_is_read_with_its_default() -> None:
    """Logs outlive versions: what was written with fewer fields is the command that it was."""
    old: list[tuple[list[Any], Command]] = [
        (["pause", "r", "why"], commands.Pause(RunId("r"), "why", "")),
        (["resume", "r"], commands.Resume(RunId("r"), "")),
        (["cancel", "r", "why"], commands.Cancel(RunId("r"), "why", "")),
        (["terminate", "r", "why"], commands.Terminate(RunId("r"), "why", "")),
        (["pauseschedule", "s", "why"], commands.PauseSchedule("s", "why", "")),
        (["resumeschedule", "s", 5], commands.ResumeSchedule("s", Millis(5), "")),
        (["dropschedule", "s"], commands.DropSchedule("s", Index(0))),
        (["fired", "s", 3, 5, 9], commands.Fired("s", Index(3), Millis(5), Millis(9), 0)),
    ]
    for record, command in old:
        assert commands.decode(pack_record(record)) == command


def test_a_node_id_fits_four_bytes() -> None:
    """Ids of nodes stand in keys with four bytes, so a larger one is no command."""
    for field in (2**32, 2**63, 2**64 - 1):
        with pytest.raises(UsageError):
            commands.decode(pack_record(["publish", field, "x"]))
        with pytest.raises(UsageError):
            commands.decode(pack_record(["takeover", 1, [1, field]]))


def test_damaged_bytes_are_refused() -> None:
    """Cut, changed, or random: bytes are a command or a `UsageError`, nothing else."""
    chance = Random(7)
    for _ in range(6_000):
        data = bytearray(chance.choice(EVERY).encode())
        match chance.randrange(3):
            case 0:
                data = data[: chance.randrange(len(data) + 1)]
            case 1:
                for _ in range(chance.randrange(1, 4)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            case _:
                data = bytearray(chance.randbytes(chance.randrange(40)))
        try:
            decoded = commands.decode(bytes(data))
        except UsageError:
            continue
        assert commands.decode(decoded.encode()) == decoded


def test_half_a_character_is_refused_before_it_is_a_command() -> None:
    """JSON can spell half a surrogate pair, and no log can hold it."""
    with pytest.raises(UsageError, match=r"this `cancel` holds '\\ud83d', half a character"):
        commands.Cancel(RunId("r"), "\ud83d").encode()
