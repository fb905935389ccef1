"""What users ask of runs, on any node: start one, send it something, stop it, let it go on.

Owns the checks before a command goes on its way: the definition, the types, the names. The rule it
keeps: every command carries an id, made here if the user gives none, so that repeating it is safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from raftoral.codec import pack, unpack
from raftoral.convert import to_plain
from raftoral.errors import RunEnded, UpdateRefused, UsageError
from raftoral.machines import mail, runs
from raftoral.machines.callbacks import token_of
from raftoral.machines.commands import (
    BeatCallback,
    Cancel,
    CompleteCallback,
    Pause,
    Resume,
    Signal,
    Terminate,
    Update,
)
from raftoral.machines.step import Refused
from raftoral.replay.failures import as_error, failure_of
from raftoral.runtime.routing import refusal_of
from raftoral.runtime.subscriptions import STEPS, Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.ids import GroupId, RunId
    from raftoral.machines.base import Result
    from raftoral.machines.command import Command
    from raftoral.runtime.lookup import Lookup
    from raftoral.runtime.routing import Routing
    from raftoral.runtime.starts import Starts
    from raftoral.runtime.subscriptions import Subscriptions
    from raftoral.values import Value

NAME_LENGTH_MAX: Final = 200


class Answer(NamedTuple):
    """What became of an update: its answer, or the failure that it was refused with."""

    ok: bool
    value: Value


class Requests:
    """The requests of one node; all methods belong to the node's loop."""

    def __init__(
        self,
        routing: Routing,
        starts: Starts,
        lookup: Lookup,
        subscriptions: Subscriptions,
        unique: Callable[[], str],
    ) -> None:
        """``unique`` makes the id of whoever gives none: a text that nobody makes again."""
        self._routing = routing
        self._starts = starts
        self._lookup = lookup
        self._subscriptions = subscriptions
        self._unique = unique
        routing.serve("run.answer", self._serve_answer)

    # -------------------------------------------------------------- starting
    async def start(
        self,
        name: str,
        given: object,
        *,
        run_id: str | None,
        version: int | None,
        policy: str,
        request: str | None = None,
    ) -> RunId:
        """Start a run, or do what ``policy`` says if the id is taken; return its id.

        The version is fixed now. `RunConflict` if the id names another run. The same ``request`` is
        one start, whatever the policy.
        """
        chosen = runs.check_run_id(run_id if run_id is not None else f"{name}-{self._unique()}")
        command = await self._starts.command(
            chosen, name, version, given, policy=policy, request=request or self._unique()
        )
        await self._say(chosen, command)
        return chosen

    # -------------------------------------------------------------- its life
    async def cancel(self, run_id: str, reason: str, request: str | None = None) -> None:
        """Ask a run to stop."""
        chosen = runs.check_known_id(run_id)
        await self._say(chosen, Cancel(chosen, reason, request or self._unique()))

    async def terminate(self, run_id: str, reason: str, request: str | None = None) -> None:
        """End a run at once."""
        chosen = runs.check_known_id(run_id)
        await self._say(chosen, Terminate(chosen, reason, request or self._unique()))

    async def pause(self, run_id: str, reason: str, request: str | None = None) -> None:
        """Let a run begin nothing more."""
        chosen = runs.check_known_id(run_id)
        await self._say(chosen, Pause(chosen, reason, request or self._unique()))

    async def resume(self, run_id: str, request: str | None = None) -> None:
        """Let a paused run go on."""
        chosen = runs.check_known_id(run_id)
        await self._say(chosen, Resume(chosen, request or self._unique()))

    # -------------------------------------------------------------- what it is sent
    async def signal(self, run_id: str, name: str, payload: object, signal_id: str | None) -> None:
        """Put a signal into a run's mailbox; the same ``signal_id`` is one signal."""
        chosen = runs.check_known_id(run_id)
        mark = self._checked_mail("signal", name, signal_id)
        view = await self._lookup.show(chosen, local=True)
        definition = await self._starts.definitions.find(view.name, view.version)
        checked = self._starts.loader.checked_signal(definition, name, payload)
        await self._say(chosen, Signal(chosen, name, mark, pack(checked, floats=True)))

    async def update(
        self,
        run_id: str,
        name: str,
        payload: object,
        update_id: str | None,
        timeout: float | None,
    ) -> Value:
        """Put a request into a run's mailbox and return its answer; the same id is one request.

        `UpdateRefused` if the run's handler refuses it, `RunEnded` if the run ends before it takes
        it, `TimeoutError` after ``timeout`` seconds: ask again with the same id.
        """
        chosen = runs.check_known_id(run_id)
        mark = self._checked_mail("update", name, update_id)
        view = await self._lookup.show(chosen, local=True)
        definition = await self._starts.definitions.find(view.name, view.version)
        checked = self._starts.loader.checked_update(definition, name, payload)
        data = pack(checked, floats=True)
        result = await self._say(chosen, Update(chosen, name, mark, data))
        if result[1] == "answered":
            return _told(Answer(result[2], unpack(result[3])))
        group = self._routing.group_of(chosen)
        answer = await self._subscriptions.until(
            Topic(group, chosen, STEPS), lambda: self._answer(group, chosen, mark), timeout
        )
        if answer is None:
            raise TimeoutError(
                f"run {run_id} has not answered update {mark} within {timeout} s; "
                "ask again with the same id"
            )
        return _told(answer)

    async def _answer(self, group: GroupId, run_id: RunId, update_id: str) -> Answer | None:
        """Return the answer to an update, None while there is none."""
        if not self._routing.is_here(group):
            there = await self._routing.ask(group, "run.answer", [run_id, update_id])
            return None if there is None else Answer(*cast("tuple[bool, Value]", there))
        told = mail.answer_of(self._routing.state(group), run_id, update_id)
        if told is not None:
            return Answer(*told)
        run = await self._lookup.find(group, run_id)
        if not run.live:
            run = await self._lookup.find_latest(group, run_id)
        if not run.live:
            raise RunEnded(f"run {run_id} is {run.status}; it ended without answering the update")
        return None

    async def _serve_answer(self, run_id: str, update_id: str) -> Value:
        chosen = runs.check_known_id(run_id)
        group = self._routing.group_of(chosen)
        await self._lookup.find_latest(group, chosen)
        answer = await self._answer(group, chosen, update_id)
        return None if answer is None else [*answer]

    # -------------------------------------------------------------- callbacks
    async def complete_callback(self, token: str, value: object) -> None:
        """Complete a step of a run with its result."""
        data = pack(to_plain(value), floats=True)
        await self._say(_run_of(token), CompleteCallback(token, True, data))

    async def fail_callback(self, token: str, error: BaseException) -> None:
        """Complete a step of a run with a failure."""
        data = pack(failure_of(error), floats=True)
        await self._say(_run_of(token), CompleteCallback(token, False, data))

    async def beat_callback(self, token: str) -> None:
        """Tell that the holder of a token is still at it."""
        await self._say(_run_of(token), BeatCallback(token))

    def _checked_mail(self, noun: str, name: str, mark: str | None) -> str:
        """Return the id of a signal or an update, a new one if none is given."""
        mark = mark if mark is not None else self._unique()
        for text in (name, mark):
            if not text or "/" in text or len(text) > NAME_LENGTH_MAX:
                raise UsageError(
                    f"{text!r:.60} cannot name {'an' if noun[0] == 'u' else 'a'} {noun}: use 1 to "
                    f"{NAME_LENGTH_MAX} characters without '/'"
                )
        return mark

    async def _say(self, run_id: RunId, command: Command) -> Result:
        """Put a command through the log of a run's group."""
        return await self._routing.propose(self._routing.group_of(run_id), command.encode())


def _run_of(token: str) -> RunId:
    try:
        return token_of(token).run_id
    except Refused as refused:
        raise refusal_of(["refused", refused.kind, str(refused)]) from None


def _told(answer: Answer) -> Value:
    if answer.ok:
        return answer.value
    failure = as_error(answer.value)
    raise UpdateRefused(failure.name, failure.message, failure.details)
