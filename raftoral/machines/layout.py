"""Where everything lies in the ordered keys of an execution group. Owns the names of keys only.

Of the group: ``c`` clock, ``k`` members, ``s`` slots, ``n/<what>`` counts, ``y`` the last message's
number, ``x/<number>`` messages to other groups, ``w/<group>`` the first message of a group that may
still come, ``v/<group><number>`` the runs that messages began, ``z/<id>`` schedules, ``g/<id>`` what
was answered to requests about them, and ``d/<due>`` when they fire.

Of a run, under ``r/<id>/``: ``s`` its record, ``h/<position>`` events, ``t/<path>`` timers,
``c/<path>`` children, ``k/<path>`` callbacks, ``q/<path>`` cells that are searched, ``m/`` and ``u/``
the mailboxes of signals and updates, ``i/`` and ``j/`` the ids seen of each, ``f/`` how many each
mailbox ever got, ``g`` what was answered to requests about it.

Indexes of runs: ``a/`` live, ``o/<node>/`` by owner, ``p/`` parked, ``e/<ended>`` those that may be
forgotten, ``l/<facet><started>`` lists.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from raftoral.codec import pack_record

if TYPE_CHECKING:
    from raftoral.ids import NodeId, RunId
    from raftoral.kv import Transaction

CLOCK: Final = b"c"
MEMBERS: Final = b"k"
SLOT_MAP: Final = b"s"
LAST_MESSAGE: Final = b"y"
MESSAGES: Final = b"x/"
EXPECTED: Final = b"w/"
SCHEDULES: Final = b"z/"
DUE: Final = b"d/"
LIVE: Final = b"a/"
OWNERS: Final = b"o/"
PARKED_RUNS: Final = b"p/"
FORGETTABLE: Final = b"e/"
LISTS: Final = b"l/"


def u64(number: int) -> bytes:
    """Return eight bytes that sort as the number does."""
    return number.to_bytes(8, "big")


def number_of(data: bytes | None) -> int:
    """Return the number of such bytes; 0 if there are none."""
    return int.from_bytes(data or b"", "big")


def run_prefix(run_id: str) -> bytes:
    """Return the prefix of everything of one run.

    The ids of children have slashes, which are written as a byte that no id has: else what is
    under a run would be under its parent too.
    """
    return b"r/" + run_id.replace("/", "\x01").encode() + b"/"


def record_key(run_id: str) -> bytes:
    """Return the key of a run's record."""
    return run_prefix(run_id) + b"s"


def event_key(run_id: RunId, position: int) -> bytes:
    """Return the key of one event."""
    return run_prefix(run_id) + b"h/" + u64(position)


def timer_key(run_id: RunId, path: str) -> bytes:
    """Return the key of a timer."""
    return run_prefix(run_id) + b"t/" + path.encode()


def child_key(run_id: RunId, path: str) -> bytes:
    """Return the key of a child."""
    return run_prefix(run_id) + b"c/" + path.encode()


def callback_key(run_id: RunId, path: str) -> bytes:
    """Return the key of a callback."""
    return run_prefix(run_id) + b"k/" + path.encode()


def requests_key(run_id: RunId) -> bytes:
    """Return the key of what was answered to requests about a run."""
    return run_prefix(run_id) + b"g"


def cell_key(run_id: RunId, path: str) -> bytes:
    """Return the key of a cell that is searched."""
    return run_prefix(run_id) + b"q/" + path.encode()


def owner_prefix(node: NodeId) -> bytes:
    """Return the prefix of the runs that ``node`` owns."""
    return OWNERS + node.to_bytes(4, "big") + b"/"


EVERYTHING: Final = bytes(8)
"""The facet that every run has."""


@lru_cache(4_096)
def facet(*what: str | bytes) -> bytes:
    """Return eight bytes for what a list may ask for, such as a status or the value of a cell.

    Two may fall together, so whoever reads a list looks at each run too.
    """
    return blake2b(pack_record(what), digest_size=8).digest()


def list_key(which: bytes, started_at: int, run_id: str) -> bytes:
    """Return the entry of a run in the list of those with a facet, by when they started."""
    return LISTS + which + u64(started_at) + run_id.encode()


def message_key(number: int) -> bytes:
    """Return the key of a message to another group."""
    return MESSAGES + u64(number)


def expected_key(group: int) -> bytes:
    """Return the key of the first message of ``group`` that may still come."""
    return EXPECTED + u64(group)


def began_prefix(group: int) -> bytes:
    """Return the prefix of the runs that messages of ``group`` began."""
    return b"v/" + u64(group)


def began_key(group: int, number: int, run_id: str) -> bytes:
    """Return the key of a run that one message began."""
    return began_prefix(group) + u64(number) + run_id.encode()


def schedule_key(schedule: str) -> bytes:
    """Return the key of a schedule."""
    return SCHEDULES + schedule.encode()


def schedule_requests_key(schedule: str) -> bytes:
    """Return the key of what was answered to requests about a schedule."""
    return b"g/" + schedule.encode()


def due_key(at: int, schedule: str) -> bytes:
    """Return the key of when a schedule fires next."""
    return DUE + u64(at) + schedule.encode()


def count_key(what: str) -> bytes:
    """Return the key of a count."""
    return b"n/" + what.encode()


def add(txn: Transaction, what: str, more: int) -> int:
    """Change a count and return it."""
    key = count_key(what)
    count = number_of(txn.get(key)) + more
    assert count >= 0, f"fewer than no {what}"
    txn.put(key, u64(count))
    return count


def clear(txn: Transaction, prefix: bytes) -> None:
    """Delete every key under ``prefix``."""
    for key in [key for key, _ in txn.scan(prefix)]:
        txn.delete(key)
