"""Deploying a text: what happens before the registry hears of it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from raftoral.errors import DefinitionRefused
from raftoral.runtime import deploying

if TYPE_CHECKING:
    from raftoral.lang.compile import Compiled
    from raftoral.lang.source import Source


def test_a_text_is_compiled_in_another_thread_than_the_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop, which sends heartbeats, goes on turning while a text is compiled."""
    turned = threading.Event()
    compiling = deploying.compile_source

    def compile_once_the_loop_has_turned(source: Source) -> Compiled:
        assert turned.wait(10), "the loop stood still"
        return compiling(source)

    monkeypatch.setattr(deploying, "compile_source", compile_once_the_loop_has_turned)

    async def deploy() -> None:
        asyncio.get_running_loop().call_soon(turned.set)
        definitions = deploying.Deploying(cast(Any, None))
        with pytest.raises(DefinitionRefused, match="holds no workflow"):
            await definitions.deploy_text("empty.rwf", "const A = 1")

    asyncio.run(deploy())
