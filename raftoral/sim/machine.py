"""The machine of simulated groups: registers, written once for each id.

Owns commands, their effect and a running hash over everything that was ever applied, so that two
machines are equal only if they applied the same entries in the same order, each once. The rule it
keeps: a command whose id was seen is answered as before and changes nothing but that hash.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from raftoral.codec import pack_record, unpack_record
from raftoral.ids import Index, Millis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raftoral.kv import Reader, Transaction
    from raftoral.machines.base import Event, Result

CHAIN: Final = b"chain"
CLOCK: Final = b"clock"
REGISTERS: Final = 6
_REGISTER: Final = b"r"
_SESSION: Final = b"s"


class Applied(NamedTuple):
    """One command as one machine applied it; ``effect`` is False for an id that was seen before."""

    index: Index  # type: ignore[assignment]  # a record, nobody searches in it
    at: Millis
    chain: bytes
    client: int
    number: int
    effect: bool


def command(client: int, number: int, register: int, value: bytes) -> bytes:
    """Return the command number ``number`` of ``client``, which writes ``value``."""
    return pack_record([client, number, register, value])


def chain_of(reader: Reader) -> bytes:
    """Return the hash over all that was applied."""
    return reader.get(CHAIN) or b""


def read(reader: Reader, register: int) -> tuple[Index, bytes]:
    """Return which entry wrote ``register`` last, and what; (0, b"") if none did."""
    stored = reader.get(_REGISTER + bytes([register]))
    if stored is None:
        return Index(0), b""
    index, value = unpack_record(stored)
    return Index(index), value


def answered(reader: Reader, client: int) -> int:
    """Return the number of the last command of ``client`` that took effect; 0 for none."""
    stored = reader.get(_SESSION + client.to_bytes(4, "big"))
    return 0 if stored is None else int(unpack_record(stored)[0])


class Registers:
    """A `StateMachine`; ``observe`` is told of each command it applies."""

    def __init__(self, observe: Callable[[Applied], None]) -> None:
        self._observe = observe

    def apply(
        self, index: Index, at: Millis, command: bytes, txn: Transaction
    ) -> tuple[Result, Sequence[Event]]:
        """Write a register, unless this id was here before."""
        chain = blake2b(
            chain_of(txn) + index.to_bytes(8, "big") + at.to_bytes(8, "big") + command,
            digest_size=16,
        ).digest()
        txn.put(CHAIN, chain)
        txn.put(CLOCK, at.to_bytes(8, "big"))
        client, number, register, value = unpack_record(command)
        key = _SESSION + client.to_bytes(4, "big")
        stored = txn.get(key)
        last, result = (0, []) if stored is None else unpack_record(stored)
        effect = number > last
        if effect:
            result = ["ok", index]
            txn.put(_REGISTER + bytes([register]), pack_record([index, value]))
            txn.put(key, pack_record([number, result]))
        elif number < last:
            result = ["refused", "stale", f"command {last} came after {number}"]
        self._observe(Applied(index, at, chain, client, number, effect))
        return result, ()

    def clock(self, reader: Reader) -> Millis:
        """Return the last stamp that was applied."""
        return Millis(int.from_bytes(reader.get(CLOCK) or b"", "big"))
