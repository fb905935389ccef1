"""Five nodes on a network of their own that loses, delays and cuts: every promise is kept."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chaos.netns import Network, refusal
from tests.chaos.storm import weather

if TYPE_CHECKING:
    from pathlib import Path

REFUSAL = refusal()

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL)),
]


SEND = """
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for number in range(count):
        sock.sendto(b"%d" % number, (address, 9000))
"""
COUNT = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("0.0.0.0", 9000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    print("bound", flush=True)
    sock.settimeout(1.5)
    count = 0
    try:
        while sock.recv(100):
            count += 1
    except TimeoutError:
        print(count)
"""


def arrived(network: Network, one: int, other: int, count: int) -> int:
    """Return how many of so many datagrams get from one node to another."""
    inside = ["ip", "netns", "exec"]
    with subprocess.Popen(
        [*inside, network.name(other), sys.executable, "-c", COUNT],
        stdout=subprocess.PIPE,
        text=True,
    ) as counter:
        assert counter.stdout is not None
        assert counter.stdout.readline() == "bound\n"
        arguments = [sys.executable, "-c", SEND, network.address(other), str(count)]
        subprocess.run([*inside, network.name(one), *arguments], check=True)
        return int(counter.stdout.readline())


def test_the_lines_are_as_bad_as_they_are_told_to_be() -> None:
    """A cut in one direction cuts that one alone, and a loss of 30 % loses about so many."""
    with Network(1) as network:
        assert arrived(network, 1, 2, 200) == 200
        network.cut({1}, into=False)
        assert (arrived(network, 1, 2, 50), arrived(network, 2, 1, 50)) == (0, 50)
        assert arrived(network, 2, 3, 50) == 50
        network.cut({1})
        assert arrived(network, 2, 1, 50) == 0
        network.mend()
        network.degrade(loss=0.3, delay_ms=20, jitter_ms=10)
        assert 200 < arrived(network, 3, 1, 400) < 360


@pytest.mark.timeout(240)
def test_partitions_loss_and_killed_leaders_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Cut one way and both, lossy, slow, killed and stopped: nothing lost, and linearizable."""
    storm, record, findings = weather(14, 3, tmp_path)
    assert findings.holds, (findings, storm.count)
    assert len(storm.count) >= 3, storm.count
    assert len(record.writes) > 10
