"""`python -m tests.chaos.switch`: an Ethernet switch in user space whose lines can be bad.

Owns one TAP device a port, which whoever starts it moves into a network namespace, and what is wrong
with each directed line between two ports: loss, delay, a cut. Reads one JSON object a line from
standard input and does as it says, at once. Frames go by the last byte of their MAC addresses, which
is the number of the port; broadcasts go to every port. Faults follow from the seed and the traffic.

It is needed because a kernel may come without netem, which does this elsewhere.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import struct
import sys
import time
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

_TUNSETIFF: Final = 0x400454CA
_TAP_WITHOUT_HEADER: Final = 0x0002 | 0x1000
_FRAME_BYTES_MAX: Final = 2_048
_BROADCAST_BIT: Final = 1
READS_AT_ONCE: Final = 64


@dataclass
class Line:
    """One direction between two ports."""

    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    is_cut: bool = False


class Switch:
    """The ports, the lines between them, and the frames that are on their way."""

    def __init__(self, prefix: str, ports: int, seed: int) -> None:
        self._random = Random(seed)
        self._taps = {port: _tap(f"{prefix}{port}") for port in range(1, ports + 1)}
        self._lines = {(one, other): Line() for one in self._taps for other in self._taps}
        self._on_their_way: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._selector = selectors.DefaultSelector()
        for port, tap in self._taps.items():
            self._selector.register(tap, selectors.EVENT_READ, port)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        self._commands = b""

    def run(self) -> None:
        """Switch until standard input ends."""
        while True:
            rest = None
            if self._on_their_way:
                rest = max(0.0, self._on_their_way[0][0] - time.monotonic())
            for key, _ in self._selector.select(rest):
                if key.data is None:
                    if not self._take_commands():
                        return
                else:
                    self._take_frames(key.data)
            self._deliver()

    def _take_frames(self, port: int) -> None:
        for _ in range(READS_AT_ONCE):
            try:
                frame = os.read(self._taps[port], _FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                return  # The device is down: its namespace is not set up yet, or gone.
            to = (frame[5],) if not frame[0] & _BROADCAST_BIT else tuple(self._taps)
            for other in to:
                if other != port and other in self._taps:
                    self._send(port, other, frame)

    def _send(self, port: int, other: int, frame: bytes) -> None:
        line = self._lines[port, other]
        if line.is_cut or (line.loss and self._random.random() < line.loss):
            return
        delay = line.delay_ms + self._random.uniform(-line.jitter_ms, line.jitter_ms)
        self._count += 1
        arrives = time.monotonic() + max(0.0, delay) / 1_000
        heappush(self._on_their_way, (arrives, self._count, other, frame))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._on_their_way and self._on_their_way[0][0] <= now:
            _, _, port, frame = heappop(self._on_their_way)
            try:
                os.write(self._taps[port], frame)
            except OSError:
                continue  # Its queue is full, or it is down: lost, as on any line.

    def _take_commands(self) -> bool:
        """Do what standard input says; False at its end."""
        data = os.read(sys.stdin.fileno(), 65_536)
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            self._do(json.loads(line))
        return bool(data)

    def _do(self, command: dict[str, Any]) -> None:
        pairs = command.get("pairs")
        for pair in self._lines if pairs is None else map(tuple, pairs):
            for name, value in command["set"].items():
                setattr(self._lines[pair], name, value)
        if "answer" in command:
            print(command["answer"], flush=True)


def _tap(name: str) -> int:
    """Return the open end of a new TAP device, which is there as long as it is open."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_WITHOUT_HEADER))
    return tap


if __name__ == "__main__":
    switch = Switch(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print("ready", flush=True)
    switch.run()
