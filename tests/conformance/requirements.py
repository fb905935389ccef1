"""One requirement: its input, what is done to it from outside, and the events that it expects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from string import ascii_letters
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from pathlib import Path

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_RANDOM: Final = re.compile(r"\$\{GEN_STR:(\d+)\}")


@dataclass(frozen=True)
class Action:
    """What somebody outside does with a callback, ``delay`` seconds after it was opened."""

    callback: str
    operation: str
    payload: Any
    delay: int


@dataclass(frozen=True)
class Requirement:
    """One file. ``events`` are the expected ones as they stand, without `InvocationCompleted`."""

    id: str
    description: str
    input: Any
    status: str | None
    result: Any
    has_result: bool
    actions: tuple[Action, ...] = ()
    events: tuple[dict[str, Any], ...] = field(default=())


def read(path: Path) -> Requirement:
    """Return the requirement of a file, its variables filled in by chance (the same every time)."""
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    chance = Random(path.stem)
    values = {
        name: _RANDOM.sub(
            lambda match: "".join(chance.choices(ascii_letters, k=int(match[1]))), str(text)
        )
        for name, text in (given.get("Variables") or {}).items()
    }
    expected = given.get("ExpectedResult") or {}
    return Requirement(
        path.stem,
        str(given.get("description", "")),
        _filled(given.get("Input"), values),
        expected.get("ExecutionStatus"),
        _filled(expected.get("Result"), values),
        "Result" in expected,
        tuple(
            Action(
                _filled(each["CallbackName"], values),
                each["Operation"],
                _filled(each.get("Payload"), values),
                int(each.get("Delay", 0)),
            )
            for each in given.get("CallbackActions") or ()
        ),
        tuple(
            _filled(each, values)
            for each in given.get("ExpectedExecutionHistory") or ()
            if each["EventType"] != "InvocationCompleted"
        ),
    )


def _filled(value: Any, values: dict[str, str]) -> Any:
    """Return ``value`` with its variables filled in; other placeholders stay."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: values.get(match[1], match[0]), value)
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, values) for key, each in value.items()}
    return value


def folder(root: Path) -> list[Path]:
    """Return the files of all requirements under ``root``, by suite and number."""
    return sorted(root.glob("**/test-requirements/*/*.yaml"), key=_number)


def _number(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.stem.split("-") if part.isdigit())
