"""Steps that somebody outside completes with a token: opened, kept alive, completed or timed out.

A token names the run and step that it belongs to and holds a secret, so whoever has it may complete
that step and no other. The rule it keeps: a callback is completed once (semantics 6.3); the same
completion again is fine, another is refused.
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from binascii import Error as Base32Error
from dataclasses import astuple, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack, pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import Millis, RunId
from raftoral.machines import layout, runs
from raftoral.machines.growing import arrive
from raftoral.machines.step import Refused, canonical
from raftoral.replay import history
from raftoral.replay.history import EVENT_BYTES_MAX

if TYPE_CHECKING:
    from raftoral.kv import Reader, Transaction
    from raftoral.machines import commands
    from raftoral.machines.base import Result
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.replay.history import CallbackDone, CallbackOpened
    from raftoral.values import Value

SECRET_BYTES: Final = 16

TIMEOUT, SILENCE = "Timeout", "HeartbeatTimeout"
"""The names of the failures that an owner may settle a callback with."""


# ------------------------------------------------------------------ tokens
@dataclass(frozen=True, slots=True)
class Token:
    """What a token says; ``secret`` has 16 random bytes."""

    run_id: RunId
    generation: int
    path: str
    secret: bytes

    def encode(self) -> str:
        """Return the token as text of small letters and digits."""
        return b32encode(pack_record(astuple(self))).decode().rstrip("=").lower()


def token_of(text: str) -> Token:
    """Return what a token says; `Refused` if it is none."""
    try:
        padded = text.upper() + "=" * (-len(text) % 8)
        values = unpack_record(b32decode(padded))
        match values:
            case [str(run_id), int(generation), str(path), bytes(secret)] if (
                type(generation) is int and len(secret) == SECRET_BYTES
            ):
                token = Token(RunId(run_id), generation, path, secret)
                # One callback has one token: what only decodes to the same is another text.
                if token.encode() == text:
                    return token
    except (CorruptionError, Base32Error, ValueError):
        pass
    raise Refused("unknown_callback", "this is no token of a callback")


# ------------------------------------------------------------------ records
@dataclass(frozen=True, slots=True)
class Open:
    """A callback as its group keeps it.

    ``due`` and ``beat`` are its limits, 0 for none, ``beaten_at`` when its holder was last heard of.
    ``outcome`` is the digest of what it was completed with, empty while it waits.
    """

    token: bytes
    due: Millis
    beat: int
    beaten_at: Millis
    outcome: bytes = b""

    def overdue(self, now: Millis) -> str:
        """Return the name of the failure that it is due for, empty for none."""
        if self.due and now >= self.due:
            return TIMEOUT
        if self.beat and now >= self.beaten_at + self.beat:
            return SILENCE
        return ""


def find(reader: Reader, run_id: RunId, path: str) -> Open | None:
    """Return the callback of a step, done or not; None if it was never opened."""
    data = reader.get(layout.callback_key(run_id, path))
    return None if data is None else Open(*unpack_record(data))


def _put(txn: Transaction, run_id: RunId, path: str, record: Open) -> None:
    txn.put(layout.callback_key(run_id, path), pack_record(astuple(record)))


def _digest(ok: bool, value: Value) -> bytes:
    return sha256(pack([ok, value], floats=True, bytes_max=EVENT_BYTES_MAX)).digest()


def note_opened(step: Step, run: Run, event: CallbackOpened) -> None:
    """Keep a callback that stands in a history."""
    record = Open(sha256(event.token.encode()).digest(), event.due, event.beat, step.now)
    _put(step.txn, run.id, event.path, record)


def note_done(txn: Transaction, run: Run, event: CallbackDone) -> None:
    """Keep what a callback was completed with, so that the same again is known."""
    record = find(txn, run.id, event.path)
    if record is not None:
        _put(txn, run.id, event.path, replace(record, outcome=_digest(event.ok, event.value)))


# ------------------------------------------------------------------ the owner's side
def opened(step: Step, run: Run, event: CallbackOpened) -> None:
    """Open a callback; its token has to be one of this very step."""
    token = token_of(event.token)
    if (token.run_id, token.generation, token.path) != (run.id, run.generation, event.path):
        raise UsageError(f"the token of `{event.path}` belongs to another step")
    if find(step.txn, run.id, event.path) is not None:
        raise UsageError(f"the callback `{event.path}` was opened before")
    note_opened(step, run, event)


def timed_out(step: Step, run: Run, event: CallbackDone) -> None:
    """Complete a callback because its time is up; the group looks whether it is (semantics 5.2)."""
    record = find(step.txn, run.id, event.path)
    if record is None or record.outcome:
        raise Refused("stale", f"no callback `{event.path}` waits")
    match event.value:
        case [str(name), str(), dict()] if not event.ok and name in (TIMEOUT, SILENCE):
            if record.overdue(step.now) != name:
                raise Refused("early", f"callback `{event.path}` is not due for {name}")
        case _:
            raise UsageError("an owner completes a callback only because its time is up")
    note_done(step.txn, run, event)


# ------------------------------------------------------------------ the holder's side
def complete(step: Step, command: commands.CompleteCallback) -> Result:
    """Complete a callback, once."""
    run, path, record = _of_token(step, command.token)
    value = canonical(command.value, "what completes a callback")
    event = history.CallbackDone(path, command.ok, value)
    try:
        history.check(event)
    except CorruptionError:
        raise UsageError("a failure is a list of a name, a message and a map") from None
    if record.outcome == _digest(command.ok, value):
        return ["ok", "seen"]
    _check_waits(run, path, record)
    note_done(step.txn, run, event)
    arrive(step, run, run, event)
    return ["ok", "completed"]


def beat(step: Step, command: commands.BeatCallback) -> Result:
    """Note that the holder of a token was heard of."""
    run, path, record = _of_token(step, command.token)
    _check_waits(run, path, record)
    _put(step.txn, run.id, path, replace(record, beaten_at=step.now))
    return ["ok", "beaten"]


def _of_token(step: Step, text: str) -> tuple[Run, str, Open]:
    token = token_of(text)
    run = runs.find(step.txn, token.run_id)
    record = None if run is None else find(step.txn, run.id, token.path)
    if run is None:
        raise Refused("unknown_callback", f"run {token.run_id} is not known here, or was forgotten")
    if record is None or record.token != sha256(text.encode()).digest():
        if token.generation < run.generation:
            raise Refused("callback_done", f"run {run.id} began anew and waits for it no longer")
        raise Refused("unknown_callback", f"run {run.id} opened no callback with this token")
    return run, token.path, record


def _check_waits(run: Run, path: str, record: Open) -> None:
    if record.outcome:
        raise Refused("callback_done", f"callback `{path}` of run {run.id} was completed before")
    if not run.live:
        raise Refused("callback_done", f"run {run.id} has ended and waits for it no longer")
