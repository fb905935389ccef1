"""Processes for activities that compute: started when needed, ended with what they compute.

Owns the worker processes of one node and the queue for them. A worker is this interpreter running
`raftoral.runtime.worker`; it does one job at a time and is kept for the next. The rules it keeps:
nothing but plain bytes crosses; a job that nobody waits for any more takes its process with it, since
nothing else stops a computation; a worker outlives neither its node nor its job's end by accident.

Why not `concurrent.futures.ProcessPoolExecutor`: it pickles what crosses, imports the main module
anew in each process, and cannot end one job.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import pack, pack_record, unpack, unpack_record
from raftoral.convert import to_plain
from raftoral.errors import CorruptionError
from raftoral.replay.history import EVENT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.replay.context import ActivityContext, Pulse
    from raftoral.replay.effects import Invocation
    from raftoral.values import Value

IDLE_S: Final = 60.0
"""How long a worker without work is kept."""

MESSAGE_BYTES_MAX: Final = 2 * EVENT_BYTES_MAX
LENGTH: Final = Struct(">I")


def framed(*record: object) -> bytes:
    """Return one message between a node and a worker."""
    data = pack_record(record)
    return LENGTH.pack(len(data)) + data


class Job:
    """One attempt for a worker; ``done`` is told once, unless it is cancelled."""

    __slots__ = ("begun", "done", "pulse", "request", "worker")

    def __init__(
        self,
        request: bytes,
        pulse: Pulse,
        begun: Callable[[], None],
        done: Callable[[bool, Value], None],
    ) -> None:
        self.request = request
        self.pulse = pulse
        self.begun = begun
        self.done = done
        self.worker: _Worker | None = None


def request_of(
    function: Callable[..., Any], call: Invocation, context: ActivityContext, *, typed: bool
) -> bytes:
    """Return the message that asks for an attempt; refuses arguments that cannot be stored.

    ``typed`` says that the result is checked against what the function declares.
    """
    module = function.__module__
    file = getattr(sys.modules.get(module), "__file__", None) if module == "__main__" else None
    plain = to_plain([list(call.args), dict(call.kwargs)])
    return framed(
        "run",
        [module, file or "", function.__qualname__],
        [call.activity, typed],
        pack(plain, floats=True, names=("args", "kwargs")),
        [context.run_id, context.generation, context.path, context.attempt, context.epoch],
        pack([context.last_heartbeat, context.idempotency_key], floats=True),
    )


class Workers:
    """The workers of one node, at most ``most`` at once; all methods belong to its loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def run(self, job: Job) -> None:
        """Have a worker do ``job``, as soon as one is free."""
        self._waiting.append(job)
        self._assign()

    def ask_to_end(self, job: Job) -> None:
        """Tell the activity that nobody waits for it; it may go on all the same."""
        if job.worker is not None:
            job.worker.send(framed("cancel"))

    def cancel(self, job: Job) -> None:
        """Give a job up: `done` is not told, and the process that does it is ended."""
        if job in self._waiting:
            self._waiting.remove(job)
        elif job.worker is not None:
            worker, job.worker = job.worker, None
            worker.job = None
            worker.kill()

    def close(self) -> None:
        """End every worker."""
        self._closed = True
        self._waiting.clear()
        for worker in list(self._workers):
            worker.job = None
            worker.kill()
            worker.process.wait()

    # -------------------------------------------------------------- for workers
    def _assign(self) -> None:
        while self._waiting and not self._closed:
            if self._idle:
                self._idle.pop().begin(self._waiting.popleft())
            elif len(self._workers) < self._most:
                worker = _Worker(self, self._loop)
                self._workers.add(worker)
                self._spawn(worker.connect())
                return  # It asks for work when it is ready.
            else:
                return

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def free(self, worker: _Worker) -> None:
        """Take a worker that is ready for the next job."""
        self._idle.append(worker)
        self._assign()

    def leaves(self, worker: _Worker) -> None:
        """Give a worker no more work."""
        if worker in self._idle:
            self._idle.remove(worker)

    def lost(self, worker: _Worker) -> None:
        """See to what a worker leaves whose connection has ended."""
        self.leaves(worker)
        if not self._closed:
            self._spawn(self._bury(worker))

    async def _bury(self, worker: _Worker) -> None:
        code = await self._loop.run_in_executor(None, worker.process.wait)
        self._workers.discard(worker)
        job, worker.job = worker.job, None
        if job is None and not worker.ready and self._waiting:
            job = self._waiting.popleft()  # Else processes that cannot start would go on for ever.
        if job is not None:
            job.worker = None
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            job.done(False, ["ProcessDied", f"the process of the activity ended {how}", {}])
        self._assign()


class _Worker(asyncio.Protocol):
    """One process and the connection with it."""

    def __init__(self, workers: Workers, loop: asyncio.AbstractEventLoop) -> None:
        self.job: Job | None = None
        self.ready = False
        self._workers = workers
        self._loop = loop
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, on our own module
                [sys.executable, "-m", "raftoral.runtime.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # So that Ctrl-C reaches the node only, which then ends its workers.
                start_new_session=True,
            )
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._idle: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Begin to talk with the process."""
        self._socket.setblocking(False)
        try:
            await self._loop.create_connection(lambda: self, sock=self._socket)
        except OSError:
            self._workers.lost(self)

    def begin(self, job: Job) -> None:
        """Do ``job`` now."""
        if self._idle is not None:
            self._idle.cancel()
        self.job, job.worker = job, self
        job.begun()
        self.send(job.request)

    def send(self, message: bytes) -> None:
        """Send a message; one to a process that is gone is lost, as its job will be."""
        if self._transport is not None:
            self._transport.write(message)

    def kill(self) -> None:
        """End the process now."""
        self.process.kill()
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the process where to import from; it answers when it is ready."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.send(framed("path", sys.path))

    def connection_lost(self, exc: Exception | None) -> None:
        """Report what is left."""
        self._transport = None
        self._workers.lost(self)

    def data_received(self, data: bytes) -> None:
        """Take what the process tells."""
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            end = LENGTH.size + length
            if length > MESSAGE_BYTES_MAX:
                self.kill()
                return
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            try:
                self._take(*unpack_record(message))
            except (CorruptionError, TypeError, ValueError):
                self.kill()
                return

    def _take(self, kind: str, *fields: Any) -> None:
        if kind == "beat":
            if self.job is not None:
                self.job.pulse.beat(fields[0])
            return
        if kind == "done":
            ok, data = fields
            job, self.job = self.job, None
            if job is not None:
                job.worker = None
                job.done(bool(ok), unpack(data))
        self.ready = True
        self._idle = self._loop.call_later(IDLE_S, self.retire)
        self._workers.free(self)

    def retire(self) -> None:
        """End a process that has nothing to do: it ends with its connection."""
        if self.job is None and self._transport is not None:
            self._workers.leaves(self)
            self._transport.close()
