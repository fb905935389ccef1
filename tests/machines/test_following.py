"""The code can follow whatever a retry or a fork makes of its history: laws over the forest."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raftoral.codec import pack_record
from raftoral.ids import Index, Position, RunId, Version
from raftoral.machines import commands, layout, mail, runs
from raftoral.replay.history import Ended, Restarted, Taken, Updated, decode, encode
from raftoral.replay.interpreter import Replay, advance
from tests.machines.group import Group
from tests.replay.forest import FOREST, RUN, Gambler, grown
from tests.replay.shapes import start_of

if TYPE_CHECKING:
    from raftoral.replay.effects import Workflow

SEEDS = 16
TERMINATED = Ended("terminated", ["Terminated", "", {}])

trees = pytest.mark.parametrize("flow", FOREST, ids=lambda flow: flow.name)


def histories(flow: Workflow[Any, Any]) -> list[list[bytes]]:
    """Return histories of runs that did not complete: failed, cancelled, or terminated anywhere."""
    found = []
    for seed in range(SEEDS):
        chance = Random(seed)
        whole = grown(flow, chance, n=seed % 4, cancel=0.1 * (seed % 2))
        last = decode(whole[-1])
        if isinstance(last, Ended) and last.status != "completed":
            found.append(whole)
        cut = whole[: chance.randrange(1, len(whole))]
        found.append([*cut, encode(TERMINATED)])
    return found


def stored(events: list[bytes]) -> Group:
    """Return a group that holds a run with this history, as if it had settled it."""
    group = Group()
    group.apply(commands.StartRun(RUN, decode(events[0])[0], Version(1), "m", b"\x80", Index(0)))
    group.apply(commands.Terminate(RUN, ""))
    run = group.run(RUN)
    last = decode(events[-1])
    assert isinstance(last, Ended)
    layout.clear(group.state, layout.run_prefix(RUN) + b"h/")
    other = runs.append(group.state, run._replace(length=Position(0), size=0), events)
    runs.put(group.state, other._replace(status=last.status), run)
    for number, event in enumerate(map(decode, events)):
        if isinstance(event, Taken):
            key = mail.SIGNAL.seen_key(RUN, event.signal_id)
            group.state.put(key, pack_record(["go", number]))
        if isinstance(event, Updated):
            key = mail.UPDATE.seen_key(RUN, event.update_id)
            group.state.put(key, pack_record(["add", number]))
    return group


@trees
def test_the_code_follows_every_retry_and_goes_on_to_an_end(flow: Workflow[Any, Any]) -> None:
    """What a retry keeps replays without a divergence, and the run can be brought to an end."""
    retried = 0
    for seed, events in enumerate(histories(flow)):
        group = stored(events)
        result = group.apply(commands.RetryRun(RUN, 0))
        if result[0] == "refused":
            assert "compensated" in result[2]
            continue
        retried += 1
        kept = runs.history(group.state, RUN)
        gambler = Gambler(flow, Random(seed), cancel=0.0)
        gambler.replay.close()
        gambler.replay = Replay(RUN, start_of(flow), known=kept)
        for data in kept[:-1]:
            gambler.settle(data)
        whole = gambler.run(kept[-1])
        assert isinstance(decode(whole[-1]), Ended | Restarted)
        assert advance(RUN, start_of(flow), whole).yielded == ()
    assert retried >= SEEDS / 2


@trees
def test_the_code_follows_every_fork(flow: Workflow[Any, Any]) -> None:
    """Each beginning of a history that nothing is open in can be forked, and replays in its place."""
    fork, forks = RunId("g"), 0
    for seed in range(SEEDS):
        whole = grown(flow, Random(seed), n=seed % 4, cancel=0.1 * (seed % 2))
        position = Random(seed).randrange(1, len(whole))
        command = commands.Adopt(
            fork,
            RUN,
            Position(position),
            0,
            flow.name,
            Version(1),
            "m",
            Index(0),
            whole[:position],
        )
        group = Group()
        result = group.apply(command)
        if result[0] == "refused":
            assert "is open there" in result[2]
            continue
        forks += 1
        events = runs.history(group.state, fork)
        before = advance(RUN, start_of(flow), whole[:position])
        after = advance(fork, start_of(flow), events)
        assert [wait.path for wait in after.waits] == [wait.path for wait in before.waits]
        assert len(after.yielded) == len(before.yielded)
    assert forks >= 3
