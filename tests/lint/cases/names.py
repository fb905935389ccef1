"""Clocks, chance, input, output and threads, however they are named."""

import asyncio
import datetime as dt
import logging
import os
import os as system
import random
import subprocess
import sys
import threading
import time as clock
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from os import environ, path
from pathlib import Path
from random import choice
from secrets import token_hex
from time import monotonic as ticks
from uuid import uuid4
from zoneinfo import ZoneInfo

import numpy as np
import requests
from raftoral import Flow, Log, workflow


@workflow("clocks", version=1)
def clocks(name: str) -> Flow[object]:
    yield from Log(name)
    clock.sleep(1)  ### RPY10: `clock.sleep` waits by the clock
    ticks()  ### RPY10: `ticks` reads the clock
    dt.datetime.now()  ### RPY10: `dt.datetime.now` reads the clock
    datetime.utcnow()  ### RPY10: `datetime.utcnow`
    date.today()  ### RPY10: `date.today`
    datetime.fromtimestamp(0)  ### RPY10: `datetime.fromtimestamp` asks the machine for its time zone
    source = clock.time  ### RPY10: `clock.time`
    return sorted([name], key=clock.perf_counter)  ### RPY10: `clock.perf_counter`


@workflow("dice", version=1)
def dice(name: str) -> Flow[object]:
    yield from Log(name)
    random.random()  ### RPY11: `random.random` throws dice
    generator = random.Random(5)  ### RPY11: `random.Random`
    os.urandom(8)  ### RPY11: `os.urandom`
    return choice([1, 2]), token_hex(), uuid4()  ### RPY11: `choice` ### RPY11: `token_hex` ### RPY11: `uuid4` makes another id


@workflow("world", version=1)
def world(name: str) -> Flow[object]:
    yield from Log(name)
    print(name)  ### RPY12: `print` writes again in each replay
    answer = input("?")  ### RPY12: `input` waits for a person
    with open(name) as file:  ### RPY12: `open` reaches outside
        file.read()
    os.environ["X"]  ### RPY12: `os.environ` depends on the process
    environ.get("X")  ### RPY12: `environ.get` depends on the process
    system.getpid()  ### RPY12: `system.getpid` depends
    path.exists(name)  ### RPY12: `path.exists` reaches outside
    path.join(name, "x")
    Path(name).read_text()  ### RPY12: `Path` reaches outside
    subprocess.run(["ls"])  ### RPY12: `subprocess.run`
    requests.get(name)  ### RPY12: `requests.get`
    logging.info(name)  ### RPY12: `logging.info` writes again
    sys.exit(1)  ### RPY12: `sys.exit` would end a process


@workflow("beside", version=1)
def beside(name: str) -> Flow[object]:
    yield from Log(name)
    threading.Thread(target=print).start()  ### RPY13: `threading.Thread` runs beside ### RPY12: `print`
    with ThreadPoolExecutor() as pool:  ### RPY13: `ThreadPoolExecutor`
        pool.map(str, [])
    asyncio.run(None)  ### RPY13: `asyncio.run`


@workflow("outside", version=1)
def outside(name: str) -> Flow[object]:
    import scipy

    yield from Log(name)
    np.sum([1])  ### RPY14: `np.sum` is outside of your project
    scipy.stats.norm()  ### RPY14: `scipy.stats.norm`
    ZoneInfo("Europe/Paris")  ### RPY14: `ZoneInfo` uses time zone data
    eval("1")  ### RPY14: `eval` runs code that nobody can look into
    __import__("time")  ### RPY14: `__import__`


@workflow("addresses", version=1)
def addresses(name: str) -> Flow[object]:
    yield from Log(name)
    by_id = sorted([name], key=id)  ### RPY19: `id` gives another number
    return hash(name)  ### RPY19: `hash` gives another number


@workflow("inside", version=1)
def inside(name: str) -> Flow[object]:
    import time

    def later() -> float:
        return time.time()  ### RPY10: `time.time`

    never = lambda: time.time()  ### RPY10: `time.time`
    yield from Log(name)
    return later()


def unused(name: str) -> float:
    """Nobody calls this from a workflow."""
    return clock.time()
