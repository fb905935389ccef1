"""`apply` is total and deterministic, whatever bytes a log holds."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random

import msgpack
import pytest

from raftoral.codec import pack_record
from raftoral.ids import Index, Millis
from raftoral.kv import MemoryKeyValue
from raftoral.machines.execution import Execution
from raftoral.machines.management import Management
from raftoral.registry.definition import Definition
from tests.machines.checks import check_indexes
from tests.machines.hostile import nonsense, plausible, topology, value

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(20))
def test_an_execution_group_takes_any_bytes(seed: int) -> None:
    """No command raises; each answer is ok or a refusal that can be sent; indexes stay in step."""
    chance = Random(seed)
    state, machine, at = MemoryKeyValue(), Execution(), 1_000
    for index in range(1, 601):
        at += chance.randrange(-20, 60)
        make = plausible if chance.random() < 0.5 else nonsense
        result, _ = machine.apply(Index(index), Millis(max(0, at)), make(chance, state), state)
        assert result[0] in ("ok", "refused")
        assert pack_record(result)
        if index % 20 == 0:
            check_indexes(state)


@pytest.mark.parametrize("seed", range(20))
def test_the_management_group_takes_any_bytes(seed: int) -> None:
    """No command raises in group 0 either, nor does a definition with wild fields."""
    chance = Random(seed)
    state, machine = MemoryKeyValue(), Management()
    machine.apply(Index(1), Millis(1), pack_record(["form", "c", 3]), state)
    for index in range(2, 400):
        if chance.random() < 0.4:
            wild = [value(chance) for _ in range(7)]
            if chance.random() < 0.7:
                name = chance.choice(("w", "", "a/b", "a.b", "x" * 300))
                version = chance.choice((0, 1, -1, 2**31, 2**32, 2**63 - 1))
                wild = [name, version, chance.choice(("rwf", "python", "x")), "m", "t", "src", b""]
            try:
                body = msgpack.packb(wild)
            except (ValueError, OverflowError):
                continue
            command = pack_record(["deploy", body])
        elif chance.random() < 0.3:
            command = topology(chance, index)
        else:
            command = nonsense(chance, state)
        result, _ = machine.apply(Index(index), Millis(index), command, state)
        assert result[0] in ("ok", "refused")


def test_a_log_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    """Two processes with other hash seeds end with the same state and answers, byte for byte."""
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.machines.test_hostile"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def digest() -> str:
    """Return a digest over the states and answers of one log."""
    chance, digest = Random(3), sha256()
    state, group0 = MemoryKeyValue(), MemoryKeyValue()
    for index in range(1, 800):
        make = plausible if chance.random() < 0.8 else nonsense
        command = make(chance, state)
        result, _ = Execution().apply(Index(index), Millis(1_000 + 20 * index), command, state)
        digest.update(pack_record(result))
    for index in range(1, 40):
        definition = Definition(f"w{index % 5}", index, "rwf", "m", "t", "s", b"")
        for command in (
            pack_record(["node", f"n{index}", "", "a", "h"]),
            topology(chance, index),
            pack_record(["deploy", definition.encode()]),
        ):
            digest.update(
                pack_record(Management().apply(Index(index), Millis(9), command, group0)[0])
            )
    for key, data in (*state.scan(b""), *group0.scan(b"")):
        digest.update(key + b"\0" + data + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    print(digest())
