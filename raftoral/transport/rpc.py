"""Calls and answers over frames, for every transport.

Owns which call waits for which reply, and which method has which handler. Never opens a
connection. The rule it keeps: every call ends, with its answer, with the handler's error, with the
loss of its link or with its timeout; and a stranger reaches only what is open to strangers.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from raftoral import errors
from raftoral.codec import pack, unpack
from raftoral.errors import (
    CorruptionError,
    LimitExceeded,
    NotLeader,
    PeerError,
    ProposalUnknown,
    RaftoralError,
    Unavailable,
    UsageError,
    WorkflowFailed,
)
from raftoral.ids import NOBODY, NodeId
from raftoral.transport.base import CERTIFIED
from raftoral.transport.frame import Frame, Kind, fields_of, frame_of

if TYPE_CHECKING:
    from raftoral.transport.base import Handler
    from raftoral.values import Value

CALL_BYTES_MAX: Final = 768 * 1024
"""The largest request or answer: a command or a page of a history with room to spare."""

SERVED_AT_ONCE_MAX: Final = 1_000
"""How many calls of peers may be in the making; the next ones are refused."""

log = logging.getLogger(__name__)


class Link(Protocol):
    """A connection as far as calls need to know."""

    @property
    def peer(self) -> NodeId:
        """Who is at the other end; 0 for a stranger."""
        ...

    @property
    def certified(self) -> str:
        """Which node the certificate at the other end names; empty without TLS."""
        ...

    def send(self, frame: Frame) -> bool:
        """Queue a frame; False if it was dropped."""
        ...

    def flush(self) -> None:
        """Write what is queued."""
        ...


@dataclass(frozen=True, slots=True)
class _Method:
    handler: Handler
    open_to_strangers: bool


class Rpc:
    """The calls of one node, asked and served."""

    def __init__(self) -> None:
        self._methods: dict[str, _Method] = {}
        self._asked: dict[int, tuple[Link, asyncio.Future[Value]]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._last_id = 0

    def serve(self, method: str, handler: Handler, *, open_to_strangers: bool = False) -> None:
        """Answer calls of ``method`` by ``handler``; a later handler replaces an earlier one."""
        self._methods[method] = _Method(handler, open_to_strangers)

    async def call(self, link: Link, method: str, body: Value, timeout: float) -> Value:
        """Ask over ``link``; see `Transport.call` for what is raised."""
        self._last_id += 1
        request_id = self._last_id
        answer: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        if not link.send(
            frame_of(
                Kind.REQUEST, request_id, method, pack(body, floats=True, bytes_max=CALL_BYTES_MAX)
            )
        ):
            raise Unavailable(f"node {link.peer} takes no more calls just now; try again")
        link.flush()
        self._asked[request_id] = (link, answer)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise _no_answer(method, timeout) from None
        finally:
            self._asked.pop(request_id, None)

    async def call_here(self, node: NodeId, method: str, body: Value, timeout: float) -> Value:
        """Ask this node itself; the answer goes through the codec as any other."""
        served = self._methods.get(method)
        if served is None:
            raise _no_such_call(method)
        try:
            async with asyncio.timeout(timeout):
                return unpack(pack(await served.handler(node, unpack(pack(body)))))
        except TimeoutError:
            raise _no_answer(method, timeout) from None

    def on_reply(self, frame: Frame) -> None:
        """Hand an answer to the call that waits for it; a late one is nobody's."""
        request_id, value, error = fields_of(frame, int, object, object)
        _link, answer = self._asked.get(request_id, (None, None))
        if answer is None or answer.done():
            return
        if error is not None:
            answer.set_exception(_error_of(error))
            return
        try:
            answer.set_result(unpack(value))
        except (CorruptionError, TypeError):
            raise PeerError("the peer sent an answer that holds no value") from None

    def on_request(self, link: Link, frame: Frame) -> None:
        """Serve a call in a task of its own, or refuse it at once."""
        request_id, name, data = fields_of(frame, int, str, bytes)
        try:
            body = unpack(data)
        except CorruptionError:
            raise PeerError("the peer sent a call that holds no value") from None
        method = self._methods.get(name)
        if method is None or (link.peer == NOBODY and not method.open_to_strangers):
            self._reply(link, request_id, _no_such_call(name))
        elif len(self._serving) >= SERVED_AT_ONCE_MAX:
            self._reply(link, request_id, Unavailable("too many calls at once; try again"))
        else:
            task = asyncio.get_running_loop().create_task(
                self._serve(link, request_id, name, method.handler, body)
            )
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    def link_lost(self, link: Link) -> None:
        """Fail the calls that were sent over ``link``."""
        for asked_over, answer in self._asked.values():
            if asked_over is link and not answer.done():
                answer.set_exception(
                    ProposalUnknown(f"the connection to node {link.peer} broke before the answer")
                )

    async def close(self) -> None:
        """Stop serving; the calls under way are cancelled."""
        tasks = list(self._serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(
        self, link: Link, request_id: int, name: str, handler: Handler, body: Value
    ) -> None:
        outcome: Value | RaftoralError
        CERTIFIED.set(link.certified)
        try:
            outcome = await handler(link.peer, body)
        except RaftoralError as error:
            outcome = error
        except Exception as error:
            log.exception("the handler of %s failed", name)
            outcome = RaftoralError(f"{name} failed there: {type(error).__name__}; see its log")
        self._reply(link, request_id, outcome)

    def _reply(self, link: Link, request_id: int, outcome: Value | RaftoralError) -> None:
        """Send the answer; if the queue is full the caller's timeout speaks."""
        try:
            link.send(_reply_frame(request_id, outcome))
        except (LimitExceeded, errors.InvalidInput) as error:
            link.send(_reply_frame(request_id, error))
        link.flush()


def _reply_frame(request_id: int, outcome: Value | RaftoralError) -> Frame:
    if isinstance(outcome, RaftoralError):
        return frame_of(Kind.REPLY, request_id, None, _error_record(outcome))
    return frame_of(
        Kind.REPLY, request_id, pack(outcome, floats=True, bytes_max=CALL_BYTES_MAX), None
    )


def _no_such_call(method: str) -> UsageError:
    return UsageError(f"there is no call {method!r:.60} for you here")


def _no_answer(method: str, timeout: float) -> ProposalUnknown:
    return ProposalUnknown(f"no answer to {method} within {timeout:g} s; it may still take effect")


# ------------------------------------------------------------------ errors across the wire
_BY_CODE: Final = errors.plain_kinds()


def _error_record(error: RaftoralError) -> list[Any]:
    match error:
        case NotLeader():
            return [error.code, error.leader or 0]
        case WorkflowFailed():
            return [error.code, error.name, error.message, pack(error.details), error.attempts]
        case _:
            return [error.code, str(error)]


def _error_of(record: object) -> RaftoralError:
    """Return the error that a peer's handler raised, as the same class."""
    try:
        match record:
            case [NotLeader.code, int(leader)]:
                return NotLeader(NodeId(leader) or None)
            case [WorkflowFailed.code, str(name), str(message), bytes(details), int(attempts)]:
                known = unpack(details)
                if isinstance(known, dict):
                    return WorkflowFailed(name, message, known, attempts=attempts)
            case [str(code), str(message)]:
                return _BY_CODE.get(code, RaftoralError)(message)
            case _:
                pass
    except CorruptionError:
        pass
    raise PeerError("the peer sent an error of unknown shape")
