"""The application of the chaos run: no attempt of a step gives what another one gave.

Every attempt makes a token of its own and writes it, with its idempotency key, into a journal
before it returns it. So the journal knows every value that a history may hold, and a result shows
which attempts it was made of.
"""

import asyncio
import os
from uuid import uuid4

from raftoral import Compute, Flow, Receive, Registry, activity, current_attempt, scope, workflow


def note(token: str) -> None:
    """Write one line to the journal; one write, so lines of several processes do not mix."""
    line = f"{current_attempt().idempotency_key} {token}\n".encode()
    file = os.open(os.environ["CHAOS_JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


@activity("chaos.work")
async def work(millis: int) -> str:
    """Take a while and return a token that nobody returned before."""
    await asyncio.sleep(millis / 1000)
    token = uuid4().hex
    note(token)
    return token


@workflow("chaos.steps", version=1)
def steps(turns: int, millis: int) -> Flow[list[str]]:
    """Do some steps, one after the other; return their tokens."""
    tokens = []
    for turn in range(turns):
        with scope(f"turn-{turn}"):
            tokens.append((yield from Compute("work", work, millis)))
    return tokens


@workflow("chaos.signals", version=1)
def signals(count: int) -> Flow[list[str]]:
    """Take some signals, with a step behind each; return payloads and tokens."""
    taken = []
    for turn in range(count):
        with scope(f"turn-{turn}"):
            taken.append((yield from Receive("go", str)))
            taken.append((yield from Compute("work", work, 5)))
    return taken


registry = Registry(workflows=[steps, signals], activities=[work])
