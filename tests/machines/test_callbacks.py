"""Callbacks: who has a token completes one step, once; silence and lateness are checked."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import pytest

from raftoral.codec import pack
from raftoral.ids import Millis, RunId
from raftoral.machines import commands
from raftoral.machines.callbacks import Token, token_of
from raftoral.machines.step import Refused
from raftoral.replay.history import CallbackDone, CallbackOpened, Ended, Restarted
from tests.machines.group import FAILED, Group, R


def complete(group: Group, token: str, value: Any = "yes", *, ok: bool = True) -> Any:
    """Complete a callback."""
    return group.apply(commands.CompleteCallback(token, ok, pack(value)))


def started(**limits: int) -> tuple[Group, str]:
    """Return a group with a run that has opened a callback, and its token."""
    group = Group()
    group.start()
    return group, group.open(**limits)


def test_a_callback_is_completed_once() -> None:
    """The first completion arrives; the same again is fine, another is refused."""
    group, token = started()
    assert complete(group, token) == ["ok", "completed"]
    assert group.history()[-1] == CallbackDone("cb", True, "yes")
    assert complete(group, token) == ["ok", "seen"]
    for value, ok in (("no", True), (FAILED, False)):
        assert complete(group, token, value, ok=ok)[:2] == ["refused", "callback_done"]
    assert group.kinds().count("CallbackDone") == 1
    group.settle(Ended("completed", None))
    assert complete(group, token) == ["ok", "seen"], "whoever did not hear of it may ask again"


def test_a_callback_may_fail() -> None:
    """A failure completes it just as well, if it is one."""
    group, token = started()
    assert complete(group, token, "no failure", ok=False)[:2] == ["refused", "usage"]
    assert complete(group, token, FAILED, ok=False) == ["ok", "completed"]
    assert group.history()[-1] == CallbackDone("cb", False, FAILED)


def test_the_value_has_to_be_canonical() -> None:
    """What completes a callback stands in the history later."""
    group, token = started()
    command = commands.CompleteCallback(token, True, b"\xcd\x00\x01")
    assert group.apply(command)[:2] == ["refused", "usage"]


def test_a_token_of_nothing_is_refused() -> None:
    """Text that is no token, of an unknown run, step or secret: all are unknown callbacks."""
    group, token = started()
    good = token_of(token)
    others = [
        "",
        "nonsense!",
        token.upper(),
        token + "a",
        Token(RunId("other"), 0, "cb", good.secret).encode(),
        Token(R, 0, "other", good.secret).encode(),
        Token(R, 0, "cb", b"x" * 16).encode(),
        Token(R, 1, "cb", good.secret).encode(),
    ]
    for text in others:
        assert complete(group, text)[:2] == ["refused", "unknown_callback"], text
        assert group.apply(commands.BeatCallback(text))[:2] == ["refused", "unknown_callback"]
    assert complete(group, token)[0] == "ok"


def test_tokens_come_back_and_nothing_else_is_one() -> None:
    """A token is read as it was made; a changed one is another token or none."""
    chance = Random(5)
    token = Token(RunId("order-1/0/päy"), 3, "scope/ask[2]", bytes(range(16)))
    text = token.encode()
    assert token_of(text) == token
    assert text == text.lower()
    assert text.isalnum()
    for _ in range(300):
        place = chance.randrange(len(text))
        changed = text[:place] + chance.choice("abcxyz2347=A ") + text[place + 1 :]
        if changed != text:
            with suppress(Refused):
                assert token_of(changed) != token


def test_an_owner_opens_callbacks_of_its_own_step_only() -> None:
    """A token names the step that it is opened by, and a step opens one."""
    group, token = started()
    secret = token_of(token).secret
    for run_id, generation, path in (("x", 0, "other"), ("r", 1, "other"), ("r", 0, "cb2")):
        text = Token(RunId(run_id), generation, path, secret).encode()
        opened = CallbackOpened("other", text, Millis(0), 0)
        assert group.settle(opened)[:2] == ["refused", "usage"]
    assert group.settle(CallbackOpened("cb", token, Millis(0), 0))[:2] == ["refused", "usage"]
    assert group.settle(CallbackOpened("c", "no", Millis(0), 0))[:2] == [
        "refused",
        "unknown_callback",
    ]


# ------------------------------------------------------------------ time
def timed_out(name: str) -> CallbackDone:
    """Return what an owner settles when time is up."""
    return CallbackDone("cb", False, [name, "too late", {}])


def test_a_callback_times_out_when_it_is_due() -> None:
    """The group looks whether the time is up (semantics 5.2); then the token is of no use."""
    group, token = started(due=2_000)
    assert group.settle(timed_out("Timeout"))[:2] == ["refused", "early"]
    group.now = 2_000
    assert group.settle(timed_out("HeartbeatTimeout"))[:2] == ["refused", "early"]
    assert group.settle(timed_out("Timeout"))[0] == "ok"
    assert complete(group, token)[:2] == ["refused", "callback_done"]
    assert group.settle(timed_out("Timeout"))[:2] == ["refused", "stale"], "once"


def test_a_beat_moves_the_silence_only() -> None:
    """Each sign of life begins the silence anew and writes no event (semantics 5.2)."""
    group, token = started(beat=500)
    group.now = 1_400
    assert group.apply(commands.BeatCallback(token)) == ["ok", "beaten"]
    assert group.kinds()[-1] == "CallbackOpened"
    group.now = 1_899
    assert group.settle(timed_out("HeartbeatTimeout"))[:2] == ["refused", "early"]
    group.now = 1_900
    assert group.settle(timed_out("HeartbeatTimeout"))[0] == "ok"
    assert group.apply(commands.BeatCallback(token))[:2] == ["refused", "callback_done"]


def test_an_owner_completes_nothing_but_a_lateness() -> None:
    """Only the time completes a callback for its owner: no value, no other failure."""
    group, _ = started(due=1)
    for event in (CallbackDone("cb", True, 1), CallbackDone("cb", False, FAILED)):
        assert group.settle(event)[:2] == ["refused", "usage"]
    assert group.settle(CallbackDone("x", False, ["Timeout", "", {}]))[:2] == ["refused", "stale"]


@pytest.mark.parametrize("end", [Ended("failed", FAILED), Restarted({"x": 2})])
def test_a_run_that_is_over_waits_for_nobody(end: Any) -> None:
    """After its end, or in another generation, a token is refused as one that nobody waits for."""
    group, token = started()
    group.settle(end)
    assert complete(group, token)[:2] == ["refused", "callback_done"]
    assert group.apply(commands.BeatCallback(token))[:2] == ["refused", "callback_done"]
