"""Helpers of another file."""

import time


def stamp() -> float:
    return time.time()  ### RPY10: `time.time`


def unused() -> float:
    return time.time()


class Watch:
    def read(self) -> float:
        return time.monotonic()  ### RPY10: `time.monotonic`
