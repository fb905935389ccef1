"""Callers of the whole stack: they start runs, signal them, cancel some, and wait for their ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from raftoral.errors import RaftoralError, RunEnded, Unavailable, UnknownDefinition
from raftoral.ids import MANAGEMENT
from raftoral.machines.commands import AddNode
from raftoral.sim.stack.flows import FLOWS, SIGNALLED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from raftoral.runtime.engine import Engine
    from raftoral.sim.stack.cluster import StackCluster

ANSWERS = "every call ends with an answer or an honest error"


class Caller:
    """One caller, outside of all nodes; one thing at a time."""

    def __init__(self, cluster: StackCluster, number: int) -> None:
        self.cluster = cluster
        self.id = number
        self.is_idle = True
        self.pause = cluster.random.choice((0.02, 0.1, 0.5))
        self._made = 0
        self._attempt = 0
        self._work: Callable[[Engine], Coroutine[Any, Any, object]]
        self._told: Callable[[object], None]
        self._about = ""

    # -------------------------------------------------------------- what next
    def begin(self) -> None:
        """Begin the next thing, unless the story comes to its end."""
        cluster, random = self.cluster, self.cluster.random
        self.is_idle = not (cluster.clients_go_on or cluster.paused)
        if self.is_idle:
            return
        self._about = ""
        known = list(cluster.promises.started)
        what = random.random()
        if cluster.paused and (what < 0.1 or not cluster.clients_go_on):
            self._resume(random.choice(cluster.paused)[0])
        elif what < 0.5 or not known:
            self._start()
        elif what < 0.8:
            self._signal(random.choice(known[-20:]))
        elif what < 0.87:
            self._change(random.choice(known[-20:]))
        elif what < 0.9 and cluster.changed:
            self._change_late(*random.choice(cluster.changed[-20:]))
        else:
            self._wait(random.choice(known[-20:]))
        self._try()

    def _start(self) -> None:
        cluster, random = self.cluster, self.cluster.random
        if random.random() < 0.1 and cluster.promises.started:
            # Once more, by another caller: it is one run.
            run_id = random.choice(list(cluster.promises.started))
            name, given = cluster.promises.started[run_id]
        else:
            self._made += 1
            run_id = f"c{self.id}-{self._made}"
            name, given = random.choice(FLOWS).name, random.randrange(12)

        async def work(engine: Engine) -> object:
            return await cluster.start(engine, run_id, name, given)

        def told(_answer: object) -> None:
            cluster.count["starts acknowledged"] += 1
            cluster.promises.started[run_id] = (name, given)

        self._work, self._told = work, told

    def _signal(self, run_id: str) -> None:
        cluster = self.cluster
        self._made += 1
        signal_id = f"s{self.id}-{self._made}"
        if cluster.promises.started[run_id][0] not in SIGNALLED:
            return self._wait(run_id)

        async def work(engine: Engine) -> object:
            await cluster.signal(engine, run_id, signal_id)
            return None

        def told(_answer: object) -> None:
            cluster.count["signals acknowledged"] += 1
            cluster.promises.signalled.add((run_id, signal_id))

        self._work, self._told = work, told
        return None

    def _change(self, run_id: str) -> None:
        """Cancel, pause or terminate a run; one that is paused goes on a while later."""
        cluster = self.cluster
        request = self._new_request()
        what = cluster.random.choice(("cancel", "cancel", "pause", "pause", "terminate"))

        async def work(engine: Engine) -> object:
            change = getattr(engine.services.requests, what)
            return await change(run_id, "by chance", request)

        def told(_answer: object) -> None:
            cluster.count[f"asked to {what}"] += 1
            cluster.changed.append((what, run_id, request))
            if what == "pause":
                cluster.paused.append((run_id, request))

        self._work, self._told = work, told

    def _change_late(self, what: str, run_id: str, request: str) -> None:
        """Let a copy of an acknowledged request come late: it changes nothing more."""
        cluster = self.cluster

        async def work(engine: Engine) -> object:
            change = getattr(engine.services.requests, what)
            return await change(run_id, "by chance", request)

        def told(_answer: object) -> None:
            cluster.count["late copies"] += 1

        self._work, self._told = work, told

    def _resume(self, run_id: str) -> None:
        cluster = self.cluster
        self._about = run_id
        request = self._new_request()
        # What is acknowledged from now on may take effect behind this.
        before = {each for each in cluster.paused if each[0] == run_id}

        async def work(engine: Engine) -> object:
            await engine.services.requests.resume(run_id, request)
            return None

        def told(_answer: object) -> None:
            cluster.count["asked to resume"] += 1
            cluster.paused = [each for each in cluster.paused if each not in before]

        self._work, self._told = work, told

    def _new_request(self) -> str:
        self._made += 1
        return f"q{self.id}-{self._made}"

    def _wait(self, run_id: str) -> None:
        cluster = self.cluster

        async def work(engine: Engine) -> object:
            return await engine.services.lookup.wait(run_id, 1.0)

        def told(_answer: object) -> None:
            cluster.count["waits answered"] += 1

        self._work, self._told = work, told

    # -------------------------------------------------------------- one attempt
    def _try(self) -> None:
        cluster = self.cluster
        self._attempt += 1
        attempt = self._attempt
        nodes = [node for node in cluster.nodes.values() if cluster.engine_of(node) is not None]
        if nodes:
            cluster.run_on(
                cluster.random.choice(nodes), self._work, lambda it: self._ended(attempt, it)
            )
        cluster.events.after(5.0, self._again, attempt)

    def _again(self, attempt: int) -> None:
        if attempt == self._attempt:
            self.cluster.count["repeated with the same id"] += 1
            self._try()

    def _ended(self, attempt: int, result: object) -> None:
        if attempt != self._attempt:
            return
        cluster = self.cluster
        match result:
            case Unavailable() | UnknownDefinition():
                cluster.count["refused: " + result.code] += 1
                cluster.events.after(0.05 + cluster.random.random() * 0.2, self._again, attempt)
                return
            case RunEnded():
                cluster.count["refused: run_ended"] += 1
                cluster.paused = [each for each in cluster.paused if each[0] != self._about]
            case RaftoralError() | Exception():
                cluster.checkers.fail(ANSWERS, f"caller {self.id} got {result!r}")
            case _:
                self._told(result)
        self._attempt += 1
        cluster.events.after(cluster.random.expovariate(1 / self.pause), self.begin)


class Founder:
    """Makes the nodes known to group 0, in the order of their ids."""

    def __init__(self, cluster: StackCluster) -> None:
        self.cluster = cluster
        self.next = 1

    def go_on(self) -> None:
        """Add the next node, until all are there."""
        cluster = self.cluster
        if self.next > len(cluster.nodes):
            return
        nodes = [node for node in cluster.nodes.values() if cluster.engine_of(node) is not None]
        if nodes:
            cluster.run_on(cluster.random.choice(nodes), partial(self._add, self.next), self._added)
        cluster.events.after(0.5, self.go_on)

    async def _add(self, number: int, engine: Engine) -> object:
        nonce = "sim" if number == 1 else f"nonce-{number}"
        command = AddNode(nonce, f"n{number}", f"127.0.0.1:{7400 + number}", "")
        return number, await engine.host.propose(MANAGEMENT, command.encode(), timeout=1.0)

    def _added(self, result: object) -> None:
        if isinstance(result, tuple) and result[1][0] == "ok" and result[0] == self.next:
            if result[1][1] != self.next:
                self.cluster.checkers.fail("nodes get their ids in order", repr(result))
            self.next += 1
