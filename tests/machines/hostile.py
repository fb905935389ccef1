"""Random commands for the machines: plausible ones, damaged ones, and nonsense."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgpack

from raftoral.codec import pack, pack_record
from raftoral.ids import SLOTS, Epoch, GroupId, Index, Millis, NodeId, Position, RunId, Version
from raftoral.machines import callbacks, commands, listing, outbox, runs, schedules
from raftoral.machines.children import Parent
from raftoral.machines.outbox import Begin, Say
from raftoral.replay import history

if TYPE_CHECKING:
    from random import Random

    from raftoral.kv import Reader

IDS = [RunId(f"r{n}") for n in range(6)]
NODES = [NodeId(n) for n in range(4)]
SIGNALS = ("go", "stop")
PATHS = ("a", "b", "scope/c")
FORKS = [RunId("f0"), RunId("f1"), RunId("r0")]
KIDS = ("kid", "scope/kid")
SCHEDULES = ("s1", "s2")


def plausible(chance: Random, reader: Reader) -> bytes:
    """Return a command as a node sends it; often one that is taken, given what is stored."""
    live = list(runs.live_ids(reader)) if chance.random() < 0.6 else []
    run_id = chance.choice(live or some_ids(reader))
    run = runs.find(reader, run_id)
    epoch = run.epoch if run is not None and chance.random() < 0.9 else Epoch(chance.randrange(9))
    match chance.randrange(30):
        case 0 | 1 | 2:
            return start(chance, chance.choice(IDS)).encode()
        case 3 | 4 | 5 | 6 | 7 | 8:
            return settle(chance, reader, run_id, epoch, run)
        case 9 | 10:
            signal_id = f"s{chance.randrange(30)}"
            payload = pack(chance.choice([True, 1, "x", None]))
            kind = commands.Signal if chance.random() < 0.6 else commands.Update
            return kind(run_id, chance.choice(SIGNALS), signal_id, payload).encode()
        case 11:
            boot = f"boot-{chance.randrange(3)}"
            return commands.Publish(chance.choice(NODES), boot).encode()
        case 12:
            heirs = chance.sample(NODES, chance.randrange(3))
            return commands.TakeOver(chance.choice(NODES), heirs, chance.randrange(4)).encode()
        case 13:
            to = chance.choice(NODES) if chance.random() < 0.5 else NodeId(0)
            return commands.HandOver(run_id, epoch, "reason", to).encode()
        case 14:
            parts = [
                settle(chance, reader, each, epoch, runs.find(reader, each)) for each in IDS[:2]
            ]
            return commands.Many([*parts, delivery(chance, reader)]).encode()
        case 15 | 29:
            return lifecycle(chance, chance.choice(some_ids(reader))).encode()
        case 16 | 17:
            return callback(chance, reader, run_id)
        case 18 | 19 | 20:
            return delivery(chance, reader)
        case 21 | 22:
            return scheduling(chance, reader)
        case 23 | 24:
            return retry(chance, reader, run_id).encode()
        case 25:
            return fork(chance, reader, run_id)
        case 26:
            numbers = [number for number, _ in outbox.messages(reader)]
            return commands.OutboxDone([*numbers[: chance.randrange(4)], 3]).encode()
        case _:
            if chance.random() < 0.7:
                before = runs.clock(reader) - chance.randrange(400)
                return commands.Forget(max(0, before), chance.randrange(6), 3).encode()
            if chance.random() < 0.5:
                low = max(0, outbox.low(reader) - chance.randrange(3))
                return commands.Passed(1, low).encode()
            return commands.OwnSlots(b"\xff" * (SLOTS // 8)).encode()


def some_ids(reader: Reader) -> list[RunId]:
    """Return the ids that users give, and those of children that are there."""
    known = (run.id for run in listing.newest_first(reader))
    return [*IDS, *(run_id for run_id in known if run_id not in IDS)]


def retry(chance: Random, reader: Reader, run_id: RunId) -> commands.RetryRun:
    """Return a retry, mostly of a run that can be retried."""
    status = chance.choice((runs.FAILED, runs.CANCELLED, runs.TERMINATED))
    ended = list(listing.newest_first(reader, listing.Filter(status)))
    run = chance.choice(ended) if ended and chance.random() < 0.8 else runs.find(reader, run_id)
    if run is None:
        return commands.RetryRun(run_id, 0)
    return commands.RetryRun(run.id, max(0, run.generation - (chance.random() < 0.1)))


def fork(chance: Random, reader: Reader, run_id: RunId) -> bytes:
    """Return a fork of a run, at some event; sometimes one that was made before."""
    made = runs.find(reader, chance.choice(FORKS))
    if made is not None and made.source and chance.random() < 0.2:
        source, at = made.source.rsplit("@", 1)
        run_id, events, position = RunId(source), [], Position(int(at))
        target, name, generation = made.id, made.name, made.generation
    else:
        events = runs.history(reader, run_id)
        position = Position(chance.randrange(len(events) + 1))
        run = runs.find(reader, run_id)
        name, generation = ("w", 0) if run is None else (run.name, run.generation)
        target = chance.choice(FORKS)
    return commands.Adopt(
        target,
        run_id,
        position,
        generation,
        name,
        Version(1),
        "m",
        Index(1),
        events[:position],
        chance.choice(([], ["a"])),
    ).encode()


def scheduling(chance: Random, reader: Reader) -> bytes:
    """Return what an operator or the leader does to a schedule."""
    name = chance.choice(SCHEDULES)
    known = schedules.find(reader, name)
    revision = Index(0) if known is None else known.revision
    now = runs.clock(reader)
    later = Millis(chance.choice((0, now + 1, now + 30, max(0, now - 90))))
    match chance.randrange(9):
        case 0 | 1:
            overlap = chance.choice(schedules.OVERLAPS)
            spec = schedules.Spec("w", 0, pack({"n": 0}), "@daily", "UTC", overlap)
            if chance.random() < 0.3:
                spec = replace(spec, catch_up=50, start_at=Millis(900), end_at=Millis(9_000))
            return commands.PutSchedule(name, spec.encode(), revision, later).encode()
        case 2:
            return commands.PauseSchedule(name, "reason", some_request(chance)).encode()
        case 3:
            return commands.ResumeSchedule(name, later, some_request(chance)).encode()
        case 4:
            if chance.random() < 0.7:
                return commands.Backfill(name, revision, [1_000, max(1, now)]).encode()
            return commands.DropSchedule(name, chance.choice((revision, Index(0)))).encode()
        case _:
            at = later if known is None or chance.random() < 0.1 else known.next_at
            then = Millis(at + 20 if chance.random() < 0.9 else at)
            missed = 7 if chance.random() < 0.1 else 0
            return commands.Fired(name, revision, at, then, missed).encode()


def start(chance: Random, run_id: RunId, parent: bytes = b"") -> commands.StartRun:
    """Return a start, seldom with another workflow or input than the run has."""
    name = chance.choice(("w", "w", "w", "v"))
    given = pack({"n": chance.randrange(2) if chance.random() < 0.2 else 0})
    policy = chance.choice(commands.POLICIES) if chance.random() < 0.5 else commands.JOIN
    search = chance.choice(([], [], ["a", "scope/c"]))
    request = chance.choice(("", "", "q1", "q2"))
    return commands.StartRun(
        run_id, name, Version(1), "m", given, Index(1), policy, parent, search, request
    )


def lifecycle(chance: Random, run_id: RunId) -> commands.Command:
    """Return what somebody asks of a run."""
    request = some_request(chance)
    match chance.randrange(7):
        case 0 | 1:
            return commands.Cancel(run_id, "reason", request)
        case 2:
            return commands.Terminate(run_id, "reason", request)
        case 3 | 4:
            return commands.Pause(run_id, "reason", request)
        case _:
            return commands.Resume(run_id, request)


def some_request(chance: Random) -> str:
    """Return the id of a request: often none, often one that was there."""
    return "" if chance.random() < 0.5 else f"q{chance.randrange(30)}"


def token(run_id: RunId, generation: int, secret: int = 0) -> str:
    """Return the token of a callback; there are two secrets."""
    return callbacks.Token(run_id, generation, "cb", bytes([secret] * 16)).encode()


def callback(chance: Random, reader: Reader, run_id: RunId) -> bytes:
    """Return what the holder of a token sends."""
    run = runs.find(reader, run_id)
    generation = 0 if run is None else max(0, run.generation - (chance.random() < 0.2))
    text = token(run_id, generation, secret=chance.random() < 0.1)
    if chance.random() < 0.3:
        return commands.BeatCallback(text).encode()
    if chance.random() < 0.2:
        return commands.CompleteCallback(text, False, pack(["Lost", "", {}])).encode()
    return commands.CompleteCallback(text, True, pack(chance.randrange(2))).encode()


def delivery(chance: Random, reader: Reader) -> bytes:
    """Return a message of the group's own outbox, or one that was in it long ago."""
    low = outbox.low(reader)
    waiting = list(outbox.messages(reader))
    if waiting and chance.random() < 0.8:
        number, message = chance.choice(waiting)
        match message:
            case Begin(run_id, parent):
                inner = start(chance, run_id, parent).encode()
            case Say(_, inner):
                pass
    else:
        number = chance.randrange(1, low + 3)
        parent = Parent(chance.choice(IDS), 0, chance.choice(KIDS), True, Index(1))
        inner = start(chance, parent.child(), parent.encode()).encode()
    stale = chance.randrange(low + 1) if chance.random() < 0.3 else low
    return commands.Delivered(1, number, min(stale, number), inner).encode()


def settle(
    chance: Random, reader: Reader, run_id: RunId, epoch: Epoch, run: runs.Run | None
) -> bytes:
    """Return a settlement of a few events."""
    base = run.length if run is not None and chance.random() < 0.9 else chance.randrange(5)
    events = [event(chance, reader, run_id) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    if chance.random() < 0.15:
        events.append(history.encode(last(chance)))
    chain = b"" if run is None else run.chain
    return commands.Settle(run_id, epoch, Position(base), chain, events).encode()


def last(chance: Random) -> history.Event:
    """Return an event that ends a run or a generation."""
    match chance.randrange(6):
        case 0 | 1:
            return history.Restarted({"n": 1})
        case 2:
            return history.Ended("failed", [chance.choice(("Broken", "Timeout")), "why", {}])
        case 3:
            return history.Ended("cancelled", ["Cancelled", "", {}])
        case _:
            return history.Ended("completed", chance.randrange(9))


def event(chance: Random, reader: Reader, run_id: RunId) -> bytes:
    """Return an event that could stand in a history."""
    path = chance.choice(PATHS)
    now = runs.clock(reader)
    run = runs.find(reader, run_id)
    generation = 0 if run is None else run.generation
    made: history.Event
    match chance.randrange(14):
        case 0 | 1:
            made = history.Set(path, chance.randrange(9))
        case 2:
            where = chance.choice((path, path, path, "undo/a"))
            made = history.Done(where, b"call", True, "result", 1)
            if chance.random() < 0.4:
                made = history.Done(path, b"call", False, ["Broken", "why", {}], 1)
            elif chance.random() < 0.2:
                made = history.Retry(path, 1, ["Broken", "why", {}], now)
        case 3:
            made = history.TimerSet(path, Millis(max(0, now + chance.randrange(-5, 60))))
        case 4 | 5:
            made = history.TimerFired(path)
        case 6 | 7:
            mail = runs.oldest_mail(reader, run_id, chance.choice(SIGNALS))
            made = history.Taken(path, *(mail or ("s1", True)))
        case 8:
            update = runs.oldest_update(reader, run_id, chance.choice(SIGNALS))
            ok = chance.random() < 0.7
            answer: Any = chance.randrange(3) if ok else ["No", "", {}]
            made = history.Updated(path, *(update or ("s1", True)), ok, answer)
        case 9 | 10:
            kid = chance.choice(KIDS)
            child = f"{run_id}/{generation}/{kid}"
            closing, detached = chance.choice(history.CLOSINGS), chance.random() < 0.3
            made = history.ChildAsked(kid, child, "w", 0, {"n": 0}, closing, detached)
        case 11:
            made = history.ChildLeft(chance.choice(KIDS))
        case 12:
            due = Millis(now + 40 if chance.random() < 0.5 else 0)
            beat = 20 if chance.random() < 0.5 else 0
            made = history.CallbackOpened("cb", token(run_id, generation), due, beat)
        case _:
            name = chance.choice(("Timeout", "HeartbeatTimeout"))
            made = history.CallbackDone("cb", False, [name, "why", {}])
    return history.encode(made)


def topology(chance: Random, index: int) -> bytes:
    """Return a command by which nodes come and go; often one that is taken."""
    node = NodeId(chance.randrange(1, 12))
    some = [NodeId(each) for each in chance.sample(range(1, 12), chance.randrange(8))]
    match chance.randrange(7):
        case 0 | 1:
            name = chance.choice(("", "", f"n{chance.randrange(9)}"))
            return commands.AddNode(f"nonce-{chance.randrange(14)}", name, "a:1", "").encode()
        case 2:
            return commands.RemoveNode(node, some).encode()
        case 3:
            return commands.FillGroups(some).encode()
        case 4 | 5:
            told = Index(max(0, index - chance.choice((0, 0, 0, 30))))
            return commands.Placed(GroupId(chance.randrange(1, 4)), told, some[:3]).encode()
        case _:
            return commands.ForgetNode(node).encode()


# ------------------------------------------------------------------ nonsense
def nonsense(chance: Random, reader: Reader) -> bytes:
    """Return bytes that no node would send."""
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randrange(60))
        case 1:
            data = bytearray(plausible(chance, reader))
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            return bytes(data[: chance.randrange(1, len(data) + 1)])
        case 2:
            tag = chance.choice([kind.tag for kind in commands.ALL])
            return bytes(msgpack.packb([tag, *(value(chance) for _ in range(chance.randrange(7)))]))
        case 3 | 4:
            return hostile_settle(chance, reader)
        case _:
            inner = plausible(chance, reader)
            for _ in range(chance.choice((1, 2, 3_000))):
                inner = pack_record(["many", [inner]])
            return inner


def hostile_settle(chance: Random, reader: Reader) -> bytes:
    """Return a settlement that is current, but whose events have fields of any type."""
    live = list(runs.live_ids(reader))
    run_id = chance.choice(live) if live else IDS[0]
    run = runs.find(reader, run_id)
    epoch, base = (0, 0) if run is None else (run.epoch, run.length)
    kinds = [kind.__name__ for kind in history._KINDS]
    events = []
    for _ in range(chance.randrange(3)):
        fields = [value(chance) for _ in range(chance.randrange(7))]
        events.append(bytes(msgpack.packb([chance.choice(kinds), *fields])))
    if chance.random() < 0.3:
        events.append(chance.randbytes(chance.randrange(20)))
    return pack_record(["settle", run_id, epoch, base, events])


def value(chance: Random, depth: int = 0) -> Any:
    """Return a value of any type that msgpack knows, and some that values do not have."""
    match chance.randrange(14 if depth < 3 else 11):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice((0, 1, -1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63)))
        case 3:
            return chance.choice((1.5, float("nan"), float("inf"), 0.0))
        case 4 | 5:
            return chance.choice(
                ("", "a", "r1", "go", "completed", "terminated", "x/y", "\n", "s1")
            )
        case 6:
            return chance.choice((b"", b"\x00", b"\xff" * 9, pack({"n": 0})))
        case 7:
            code = chance.randrange(6)
            return msgpack.ExtType(code, chance.choice((b"", b"1.5", b"EUR1", b"NaN", b"\x7f" * 8)))
        case 8:
            return msgpack.Timestamp(chance.randrange(2**33), 5)
        case 9:
            return ["Busy", "message", {}]
        case 10:
            return msgpack.ExtType(1, str(Decimal(chance.randrange(99))).encode())
        case 11:
            return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case 12:
            return {str(n): value(chance, depth + 1) for n in range(chance.randrange(3))}
        case _:
            deep: Any = None
            for _ in range(chance.choice((5, 70, 400))):
                deep = [deep]
            return deep
