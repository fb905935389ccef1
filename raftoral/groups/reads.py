"""Who waits until this member has applied all that was committed when they asked.

Owns the reads of one group on one member. All that ask between two drains share one question to
the core; a lost question is asked again by whoever waits.

Source: Raft thesis, section 6.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.errors import NotLeader, RaftoralError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from raftoral.ids import Index
    from raftoral.raft.reads import ReadState


class Reads:
    """The reads of one member, from question to answer."""

    def __init__(self, nonce: bytes) -> None:
        """``nonce`` keeps the answers to an earlier process of this node apart."""
        self._nonce = nonce
        self._count = 0
        self.asked: list[asyncio.Future[None]] = []
        self._sent: dict[bytes, list[asyncio.Future[None]]] = {}
        self._indexed: list[tuple[Index, list[asyncio.Future[None]]]] = []

    def ask(self, answer: asyncio.Future[None]) -> None:
        """Let ``answer`` be set once everything committed by now is applied."""
        self.asked.append(answer)

    def send(self, read_index: Callable[[bytes], None]) -> None:
        """Put the collected questions, if there are any, to the core as one."""
        asked, self.asked = self.asked, []
        self._count += 1
        context = self._nonce + self._count.to_bytes(8, "big")
        try:
            read_index(context)
        except NotLeader as error:
            _fail(asked, error)
        else:
            self._sent[context] = asked

    def answered(self, states: list[ReadState]) -> None:
        """Take the core's answers: how far the machine must be."""
        for index, context in states:
            waiting = self._sent.pop(context, None)
            if waiting is not None:
                self._indexed.append((index, waiting))

    def applied(self, index: Index) -> None:
        """Release those whose index the machine has reached."""
        if not self._indexed:
            return
        later = []
        for wanted, waiting in self._indexed:
            if wanted > index:
                later.append((wanted, waiting))
                continue
            for answer in waiting:
                if not answer.done():
                    answer.set_result(None)
        self._indexed = later

    def forget_given_up(self) -> None:
        """Drop questions that nobody waits for any more."""
        for context in [
            context
            for context, waiting in self._sent.items()
            if all(answer.done() for answer in waiting)
        ]:
            del self._sent[context]

    def fail_all(self, error: RaftoralError) -> None:
        """Fail everyone who waits."""
        _fail(self.asked, error)
        for waiting in self._sent.values():
            _fail(waiting, error)
        for _, waiting in self._indexed:
            _fail(waiting, error)
        self.asked, self._sent, self._indexed = [], {}, []


def _fail(waiting: list[asyncio.Future[None]], error: RaftoralError) -> None:
    for answer in waiting:
        if not answer.done():
            answer.set_exception(error)
