"""Drives evaluations by hand: answers effects, keeps what was yielded with its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raftoral.errors import WorkflowFailed
from raftoral.lang.compile import Evaluation, WorkflowUnit, compile_source, decode_input, start
from raftoral.lang.render import render_all
from raftoral.lang.source import Source
from raftoral.replay.effects import (
    Cell,
    Checkpoint,
    Compute,
    Effect,
    Log,
    Receive,
    Scopes,
    SetCell,
    Sleep,
    SleepUntil,
    current_scopes,
)

Answer = Callable[..., Any]


def unit(text: str, name: str | None = None) -> WorkflowUnit:
    """Return the (named) workflow of a text that has no errors."""
    compiled = compile_source(Source("test.rwf", text))
    assert not compiled.has_errors, render_all(compiled.diagnostics, compiled.source)
    return next(one for one in compiled.units if name in (None, one.name))


class Drive:
    """One run, answered by functions; ``steps`` is what it yielded, one short line each."""

    def __init__(
        self,
        text: str,
        given: object = None,
        activities: Mapping[str, Answer] | None = None,
        signals: Mapping[str, list[Any]] | None = None,
        name: str | None = None,
    ) -> None:
        ir = unit(text, name).ir
        self.evaluation: Evaluation = start(ir, decode_input(ir, given))
        self.activities = dict(activities or {})
        self.signals = {key: list(values) for key, values in (signals or {}).items()}
        self.scopes = Scopes()
        self.steps: list[str] = []
        self.effects: list[Effect[Any]] = []

    def result(self) -> Any:
        """Run to the end; return the result or raise the failure."""
        token = current_scopes.set(self.scopes)
        generator = self.evaluation.generator
        try:
            effect = generator.send(None)
            while True:
                self.effects.append(effect)
                try:
                    answer = self.answer(effect)
                except WorkflowFailed as failure:
                    effect = generator.throw(failure)
                else:
                    effect = generator.send(answer)
        except StopIteration as stop:
            return stop.value
        finally:
            current_scopes.reset(token)

    def answer(self, effect: Effect[Any]) -> Any:
        """Note the effect and return its answer."""
        match effect:
            case Checkpoint(key, value):
                self.steps.append(f"{self.scopes.path(key)} = {value!r}")
                return Cell(self.scopes.path(key), value, None)
            case SetCell(cell, value):
                self.steps.append(f"{cell.path} = {value!r}")
                cell.value = value
                return None
            case Compute():
                path = self.path(effect.key, "compute")
                self.steps.append(f"{path} = {effect.call.activity}{effect.call.args!r}")
                return self.activities[effect.call.activity](*effect.call.args)
            case Sleep(span, key):
                self.steps.append(f"{self.path(key, 'sleep')} {span}")
            case SleepUntil(until, key):
                self.steps.append(f"{self.path(key, 'sleep')} {until.isoformat()}")
            case Log(text, key):
                self.steps.append(f"{self.path(key, 'log')} {text}")
            case Receive():
                self.steps.append(f"{self.path(effect.key, effect.name)} within {effect.within}")
                queue = self.signals.get(effect.name, [])
                return queue.pop(0) if queue else None
            case _:
                raise AssertionError(f"no effect: {effect!r}")
        return None

    def path(self, key: str | None, kind: str) -> str:
        """Return the path of a step."""
        return self.scopes.unnamed(kind) if key is None else self.scopes.path(key)


def value_of(expression: str, kind: str, **inputs: tuple[str, Any]) -> Any:
    """Return what an expression gives; ``inputs`` map a name to its type and value."""
    params = ", ".join(f"{name}: {typed}" for name, (typed, _) in inputs.items())
    text = f"workflow w version 1 ({params}) -> {kind} {{ return {expression} }}"
    return Drive(text, {name: value for name, (_, value) in inputs.items()}).result()
