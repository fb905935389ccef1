"""Activities of another file."""

import time

from raftoral import activity


@activity("shop.charge")
def charge(name: str) -> float:
    return time.time()
