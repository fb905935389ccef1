"""The process of one node: its loop, its signals, the order of starting and stopping."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from raftoral.api.server import listener, serve
from raftoral.cli.options import host_port
from raftoral.errors import NodeRemoved
from raftoral.registry.apps import load_app
from raftoral.runtime.node import Node

if TYPE_CHECKING:
    from raftoral.cli.serving import Settings

GRACE_S: Final = 5.0
"""How long tasks that were cancelled may keep the process of a node that has stopped."""


def run_until_signal(settings: Settings) -> None:
    """Start a node, say where it serves, and stop it cleanly on SIGINT or SIGTERM.

    Once it has stopped, async activities that do not let their `CancelledError` pass keep the process
    for five seconds more, not for ever: what they do is not settled, so it is done again.
    """
    asyncio.run(_until_signal(settings))


async def _until_signal(settings: Settings) -> None:
    serving = asyncio.create_task(_serve(settings))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # The first signal stops cleanly; whoever sends a second one does not want to wait.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        serving.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    problem: BaseException | None = None
    try:
        await serving
    except asyncio.CancelledError:
        if not serving.cancelled():
            raise
    except BaseException as error:
        problem = error
        raise
    finally:
        if await _does_anything_go_on():
            _leave(problem)


async def _does_anything_go_on() -> bool:
    """Cancel what is left of the application and wait for it a while; tell whether it goes on."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    return bool(left and (await asyncio.wait(left, timeout=GRACE_S))[1])


def _leave(problem: BaseException | None) -> NoReturn:
    """End the process at once; `asyncio.run` would wait for the tasks for ever."""
    if problem is not None:
        print(f"raftoral: {problem}", file=sys.stderr)
    print(
        "raftoral: ends in the middle of async activities that do not let CancelledError pass",
        file=sys.stderr,
        flush=True,
    )
    logging.shutdown()
    os._exit(0 if problem is None else 1)


async def _serve(settings: Settings) -> None:
    host, port = host_port(settings.http, "--http")
    registry = load_app(settings.app) if settings.app else None
    # Bound before the node starts, so that a taken port is told before anything is written.
    with listener(host, port, insecure=settings.insecure) as sock:
        node = Node(
            registry,
            data=settings.data,
            listen=settings.listen,
            advertise=settings.advertise,
            join=settings.join,
            groups=settings.groups,
            name=settings.name,
            http=f"{host}:{sock.getsockname()[1]}",
            insecure=settings.insecure,
            tls=settings.tls,
            remove_lost_after=settings.remove_lost_after,
        )
        async with node, serve(node, host, port, sock=sock) as url:
            print(await _announcement(node, settings, url), flush=True)
            # Until a signal cancels this, the disk fails under the node, or it leaves the cluster.
            failure = await node.failed()
            if not isinstance(failure, NodeRemoved):
                raise failure
            print(f"raftoral: {failure}", flush=True)


async def _announcement(node: Node, settings: Settings, url: str) -> str:
    view = await node.status()
    data = view.data or "memory"
    return (
        f"node {view.node} serves peers at {settings.advertise or settings.listen}, "
        f"HTTP at {url}, data in {data}, process {os.getpid()}"
    )
