"""A process that computes activities for a node: ``python -m raftoral.runtime.worker FD``.

Owns the other end of `raftoral.runtime.workers`. One thread reads the connection and ends the
process with it; the main thread does one job after the other. What a job raises is its failure.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import queue
import signal
import socket
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import pack, unpack, unpack_record
from raftoral.convert import from_plain, hints_of
from raftoral.errors import WorkflowFailed
from raftoral.ids import Epoch, RunId
from raftoral.replay.context import ActivityContext, Pulse, attempt_context
from raftoral.replay.effects import Activity
from raftoral.replay.failures import failure_of
from raftoral.replay.history import EVENT_BYTES_MAX
from raftoral.replay.packing import result_bytes
from raftoral.runtime.workers import LENGTH, framed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

MAIN = "__raftoral_main__"
"""What the module is called that the node runs as ``__main__``."""


class RemotePulse(Pulse):
    """Passes heartbeats on to the node."""

    __slots__ = ("_send",)

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__(monotonic)
        self._send = send

    def beat(self, packed: bytes) -> None:
        """Tell the node."""
        super().beat(packed)
        self._send(framed("beat", packed))


class Worker:
    """One connection and what is done for it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._pulse: Pulse | None = None

    def serve(self) -> None:
        """Do jobs until the node hangs up, which ends the process."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._do(*self._jobs.get())

    def _read(self) -> None:
        while True:
            kind, *fields = self._message()
            if kind == "path":
                sys.path[:] = fields[0]
                self._send(framed("ready"))
            elif kind == "cancel":
                if self._pulse is not None:
                    self._pulse.cancelled = True
            else:
                self._pulse = RemotePulse(self._send)
                self._jobs.put([self._pulse, *fields])

    def _message(self) -> list[Any]:
        (length,) = LENGTH.unpack(self._bytes(LENGTH.size))
        return unpack_record(self._bytes(length))

    def _bytes(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._connection.recv(count - len(data))
            if not part:
                os._exit(0)  # The node is gone, and whatever computes here is wanted by nobody.
            data += part
        return bytes(data)

    def _send(self, message: bytes) -> None:
        with self._sending:
            self._connection.sendall(message)

    def _do(
        self,
        pulse: Pulse,
        place: Sequence[str],
        result: Sequence[Any],
        arguments: bytes,
        attempt: Sequence[Any],
        more: bytes,
    ) -> None:
        run_id, generation, path, number, epoch = attempt
        last, key = cast("list[Any]", unpack(more))
        context = ActivityContext(
            RunId(run_id), generation, path, number, Epoch(epoch), last, key, pulse
        )
        name, typed = result
        token = attempt_context.set(context)
        try:
            function = _find(*place)
            args, kwargs = _typed(function, *cast("list[Any]", unpack(arguments)))
            value = function(*args, **kwargs)
            ok, data = True, result_bytes(name, function if typed else None, value)
        except BaseException as error:
            failure: Any = failure_of(error)
            ok, data = False, pack(failure, bytes_max=EVENT_BYTES_MAX)
        finally:
            attempt_context.reset(token)
        self._send(framed("done", ok, data))


def _find(module: str, file: str, qualname: str) -> Callable[..., Any]:
    """Return the function of an activity; `WorkflowFailed` if it is not to be found here."""
    try:
        found: Any = _main(file) if module == "__main__" else importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, OSError) as error:
        raise WorkflowFailed(
            "NotImportable", f"another process cannot import {module}.{qualname}: {error}"
        ) from error
    function: Callable[..., Any] = found.function if isinstance(found, Activity) else found
    return function


def _main(file: str) -> ModuleType:
    """Return what the node runs as its main module, imported without running it as one."""
    if MAIN not in sys.modules:
        spec = importlib.util.spec_from_file_location(MAIN, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"the main module has no file ({file!r})")
        module = importlib.util.module_from_spec(spec)
        sys.modules[MAIN] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[MAIN]
            raise
    return sys.modules[MAIN]


def _typed(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments as the types that the function declares for them."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    hints = hints_of(function)
    for name, value in bound.arguments.items():
        kind = hints.get(name, Any)
        match bound.signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(from_plain(each, kind) for each in value)
            case inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {key: from_plain(v, kind) for key, v in value.items()}
            case _:
                bound.arguments[name] = from_plain(value, kind)
    return bound.args, bound.kwargs


def main() -> None:
    """Serve the connection whose number stands on the command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Worker(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
