"""Comments that allow, at statements, functions and imports; and those that do not."""

import random  # raftoral: allow RPY11 because all of its uses here are seeded by the run's id
import time

import numpy
import scipy  # raftoral: allow RPY14 because its integrals are pure functions, and it is pinned
from raftoral import Flow, Log, workflow


@workflow("allowed", version=1)
def allowed(name: str) -> Flow[None]:
    yield from Log(name)
    time.sleep(0)  # raftoral: allow RPY10 because it only gives way to other threads
    # raftoral: allow RPY10, RPY12 because both are thrown away
    print(time.time())
    value = max(
        time.time(),
        1,
    )  # raftoral: allow RPY10 because it is compared with nothing
    random.Random(name).random()
    scipy.integrate()
    timed()


def timed() -> None:  # raftoral: allow RPY10 because it measures for a metric that decides nothing
    start = time.perf_counter()
    if start > time.perf_counter():
        print(start)  ### RPY12: `print`


@workflow("refused", version=1)
def refused(name: str) -> Flow[None]:
    yield from Log(name)
    time.sleep(0)  # raftoral: allow RPY10 ### RPY10: `time.sleep` ### RPY23: this comment gives no reason
    time.sleep(0)  # raftoral: allow RPY10 because ### RPY10: `time.sleep` ### RPY23: this comment gives no reason
    time.sleep(0)  # raftoral: alow RPY10 because I may ### RPY10: `time.sleep` ### RPY23: this comment is not understood
    time.sleep(0)  # raftoral: allow RPY11 because it is the wrong code ### RPY10: `time.sleep` ### RPY24: nothing here needs RPY11
    if time.time():  # raftoral: allow RPY10 because the head is meant, not the body
        time.sleep(1)  ### RPY10: `time.sleep`
    yield from Log(name)  # raftoral: allow RPY10 because it once read a clock ### RPY24: nothing here needs RPY10
    numpy.sum([1])  ### RPY14: `numpy.sum`


def activity(name: str) -> float:
    """Nobody reads this, so its comments are left alone."""
    return time.time()  # raftoral: allow RPY10
