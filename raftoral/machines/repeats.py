"""One request of a user is one change, however often and however late a copy of it comes.

What sets a state (paused, resumed) may be repeated, but not behind the next change: a copy that
comes late would set the old state again. So each carries an id that its user chose, and its answer
is kept beside what it changed. The rule kept here: the same id is told the same answer, and changes
nothing more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import UsageError
from raftoral.machines.step import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.machines.base import Result
    from raftoral.machines.step import Step

REQUESTS_KEPT: Final = 64
"""How many answers are kept of a run or a schedule; a copy behind so many others is a new request."""

REQUEST_LENGTH_MAX: Final = 200


def check_request(request: str) -> str:
    """Return the id of a request if it is short enough; empty is none."""
    if len(request) > REQUEST_LENGTH_MAX:
        raise UsageError(f"the id of a request has at most {REQUEST_LENGTH_MAX} characters")
    return request


def once(step: Step, key: bytes, request: str, change: Callable[[], Result]) -> Result:
    """Return the answer of ``change``, or the one that it gave when ``request`` came first.

    The answers are kept under ``key``, a refusal too: a copy of what was refused changes nothing
    later. Without an id, as in old logs, it is done each time.
    """
    if not check_request(request):
        return change()
    mark = blake2b(request.encode(), digest_size=16).digest()
    stored = step.txn.get(key)
    known = [] if stored is None else unpack_record(stored)
    for each, answer in known:
        if each == mark:
            told: Result = answer
            return told
    try:
        result = change()
    except Refused as refused:  # raised before anything is changed
        result = ["refused", refused.kind, str(refused)]
    step.txn.put(key, pack_record([*known, [mark, result]][-REQUESTS_KEPT:]))
    return result
