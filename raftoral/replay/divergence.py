"""Why code does not repeat a history, in words: what was inserted, removed, moved, renamed, changed.

`compare` is a pure function of two lists of steps; `explain` makes the lists from a history and the
code. Steps are compared branch by branch, since the log alone decides which branch goes first.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import unpack
from raftoral.replay.history import decode
from raftoral.replay.steps import (
    CLOSED,
    END,
    WAIT,
    Step,
    branches_of,
    by_branch,
    recorded_steps,
    yielded_steps,
)
from raftoral.replay.text import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raftoral.ids import RunId
    from raftoral.replay.advancing import Begin

AROUND: Final = 3
"""How many rows of the table stand before the divergence, and behind it."""

DIFFERENCES_MAX: Final = 8
NAMES_MAX: Final = 3
TEXT_COLUMNS: Final = 36
"""How many differing values and missing steps are named, and how wide a step is in the table."""

_KINDS: Final = {"set": "checkpoint", "branches": "group of branches", "child": "call"}
_TIMERS: Final = frozenset({"sleep", "receive", "compute"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a recorded step and what stands in its place now.

    ``same`` tells that both are equal. Either may be None, not both.
    """

    recorded: Step | None
    yielded: Step | None
    same: bool


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place at which code leaves a history.

    ``cause`` is ``inserted``, ``removed``, ``moved``, ``renamed``, ``arguments``, ``kind``,
    ``returned`` or ``goes on``; ``words`` say it; ``differences`` are the values that differ.
    ``rows`` are the whole table, ``at`` the number of the row of the divergence, ``line`` the place in
    the code; ``ended`` tells that the code came to its end, so that what is missing is gone.
    """

    cause: str
    words: str
    differences: tuple[str, ...]
    rows: tuple[Row, ...]
    at: int
    line: str
    ended: bool

    def __str__(self) -> str:
        return "\n".join(render(self))


def explain(run_id: RunId, begin: Begin, history: Sequence[bytes]) -> Divergence | None:
    """Return why the code does not repeat ``history``; None if it does, as far as that goes."""
    events = [decode(data) for data in history]
    yielded, ended = yielded_steps(run_id, begin, history)
    return compare(recorded_steps(events), yielded, ended=ended)


def compare(
    recorded: Sequence[Step], yielded: Sequence[Step], *, ended: bool = True
) -> Divergence | None:
    """Return the first difference between the steps of a history and those of the code.

    ``ended`` tells that the code came to its end, so that what it did not ask for is gone. None if
    the code asks for all that was recorded, in the order of each branch.
    """
    branches = branches_of(recorded, yielded)
    mine, theirs = by_branch(recorded, branches), by_branch(yielded, branches)
    firsts = [
        (mine[branch][index], branch, index)
        for branch in branches
        if (index := _first_difference(mine[branch], theirs[branch])) is not None
    ]
    if not firsts:
        return None
    known = {step.name for step in yielded}
    # In a branch that the code never enters, or has not come to, nothing is told.
    told = [first for first in firsts if first[2] < len(theirs[first[1]]) or ended] or firsts
    old, branch, index = min(told, key=lambda first: first[0].position)
    now = theirs[branch][index : index + 1]
    cause, words, differences = _judge(mine[branch][index:], theirs[branch][index:], known, ended)
    rows, at = _table(recorded, yielded, old, now[0] if now else None)
    line = now[0].line if now else ""
    return Divergence(cause, words, tuple(differences), rows, at, line, ended)


def _first_difference(recorded: Sequence[Step], yielded: Sequence[Step]) -> int | None:
    for index, step in enumerate(recorded):
        if index >= len(yielded) or not _same(step, yielded[index]):
            return index
    return None


def _same(old: Step, new: Step) -> bool:
    return old.name == new.name and _same_kind(old, new) and _same_asked(old, new)


def _same_kind(old: Step, new: Step) -> bool:
    return old.kind == new.kind or (old.kind == WAIT and new.kind in _TIMERS)


def _same_asked(old: Step, new: Step) -> bool:
    # `==` alone would take True for 1, and 1 for 1.0.
    return old.asked is None or new.asked is None or _exact(old.asked) == _exact(new.asked)


def _exact(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_exact(one) for one in value]
        case dict():
            return {key: _exact(one) for key, one in value.items()}
        case _:
            return type(value).__name__, value


# ------------------------------------------------------------------ the cause
def _judge(
    old: Sequence[Step], new: Sequence[Step], known: set[tuple[str, int]], ended: bool
) -> tuple[str, str, list[str]]:
    """Return cause, words and differing values, for the rest of both sides of one branch."""
    was = old[0]
    if not new:
        return "removed", f"{_called(was)} is not here any more", []
    now = new[0]
    if was.name == now.name:
        return _changed(was, now)
    if now.path == END:
        return "returned", f"the code ends here ({now.text}), before {_called(was)}", []
    if was.path == END:
        return "goes on", f"the code goes on with {_called(now)} where the run had ended", []
    later = {step.name for step in new[1:]}
    recorded_later = {step.name: step for step in old[1:]}
    if now.name in recorded_later and _same_asked(recorded_later[now.name], now):
        if was.name in later:
            return "moved", f"{_called(was)} came before {_called(now)}, and comes after it now", []
        gone = [step for step in old if step.position < recorded_later[now.name].position]
        gone = [step for step in gone if step.name not in known and step.kind != CLOSED]
        names = ", ".join(_called(step) for step in gone[:NAMES_MAX]) or _called(was)
        if len(gone) > NAMES_MAX:
            names += f" and {len(gone) - NAMES_MAX} more"
        sure = f"{'is' if len(gone) < 2 else 'are'} gone{'' if ended else ', or come later'}"
        return "removed", f"{names} {sure}: the code goes from there to {_called(now)}", []
    if was.name not in known and was.kind == now.kind and was.asked is not None:
        if _same_asked(was, now):
            return "renamed", f"{_called(was)} is called {_called(now)} now", []
        if difflib.SequenceMatcher(None, was.path, now.path).ratio() > 0.7:
            words = f"{_called(now)} is new here; did you rename {_called(was)}, and change it?"
            return "renamed", words, _differences(was, now)
    return "inserted", f"{_called(now)} is new here, before {_called(was)}", []


def _changed(was: Step, now: Step) -> tuple[str, str, list[str]]:
    """Return how a step of one name differs: in its kind, or in what it asks for."""
    if not _same_kind(was, now):
        words = f"{_called(was)} was a {_KINDS.get(was.kind, was.kind)}"
        return "kind", f"{words} and is a {_KINDS.get(now.kind, now.kind)} now", []
    differences = _differences(was, now)
    if was.path == END:
        return "returned", "the code ends in something else", differences
    if was.kind == "compute":
        before, after = unpack(was.asked), unpack(now.asked)
        if isinstance(before, list) and isinstance(after, list) and before[0] != after[0]:
            words = f"{_called(was)} called {before[0]!s}, and calls {after[0]!s} now"
            return "arguments", words, differences
        return "arguments", f"{_called(was)} is called with other arguments", differences
    others = {"child": "is called with another input", "branches": "has other branches"}
    words = others.get(was.kind, "has another value")
    return "arguments", f"{_called(was)} {words}", differences


def _called(step: Step) -> str:
    if step.kind == CLOSED:
        return f"the end of `{step.path}`"
    return "the end" if step.path == END else f"`{step.path}`"


# ------------------------------------------------------------------ values
def _differences(was: Step, now: Step) -> list[str]:
    match was.kind:
        case "compute":
            return _call_differences(unpack(was.asked), unpack(now.asked))
        case "end" | "child":
            # Both hold what happens and with what, in this order.
            pairs = zip(was.asked, now.asked, strict=True)
            return _cut(line for old, new in pairs for line in _walk("", old, new))
        case _:
            return _cut(_walk("", was.asked, now.asked))


def _call_differences(before: object, after: object) -> list[str]:
    match before, after:
        case [str(), list(args), dict(kwargs)], [str(), list(others), dict(more)]:
            return _cut([*_walk("argument ", args, others), *_walk("", kwargs, more)])
        case _:
            return ["the arguments are long, so only their digests were recorded"]


def _cut(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    left = len(found) - DIFFERENCES_MAX
    return found if left <= 0 else [*found[:DIFFERENCES_MAX], f"and {left} more"]


def _walk(place: str, old: object, new: object) -> Iterator[str]:
    """Yield ``place: old -> new`` for each value that differs, deep inside."""
    match old, new:
        case dict(), dict():
            for key in [*old, *(key for key in new if key not in old)]:
                inner = f"{place}.{key}" if place.strip() else f"{place}{key}"
                yield from _pair(inner, old, new, key)
        case [*_], [*_]:
            one, other = list(old), list(new)
            for index in range(max(len(one), len(other))):
                # Arguments are counted as people count them.
                inner = f"{place}{index + 1}" if place == "argument " else f"{place}[{index}]"
                yield from _pair(inner, dict(enumerate(one)), dict(enumerate(other)), index)
        case _:
            if _exact(old) != _exact(new):
                name = f"{place}: " if place else ""
                yield f"{name}{short(old, 50)} -> {short(new, 50)}"


def _pair(place: str, old: dict[Any, object], new: dict[Any, object], key: object) -> Iterator[str]:
    if key not in old:
        yield f"{place}: nothing -> {short(new[key], 50)}"
    elif key not in new:
        yield f"{place}: {short(old[key], 50)} -> nothing"
    else:
        yield from _walk(place, old[key], new[key])


# ------------------------------------------------------------------ the table
def _table(
    recorded: Sequence[Step], yielded: Sequence[Step], old: Step, now: Step | None
) -> tuple[tuple[Row, ...], int]:
    """Return all rows, in the order of the record, and the number of the one where both part."""
    by_name = {step.name: step for step in yielded}
    names = {step.name for step in recorded}
    extra = [step for step in yielded if step.name not in names and step.kind != CLOSED]
    rows: list[Row] = []
    at = 0
    for step in recorded:
        if step.kind == CLOSED and step is not old:
            continue  # It stands for nothing that an author wrote.
        other = by_name.get(step.name)
        if step is old:
            at = len(rows)
            if now is not None and now.name != step.name:
                rows.append(Row(step, now, False))
                extra = [one for one in extra if one is not now]
                continue
        rows.append(Row(step, other, other is not None and _same(step, other)))
    rows += [Row(None, step, False) for step in extra]
    return tuple(rows), at


def render(divergence: Divergence) -> list[str]:
    """Return the words, the differing values and the table around the divergence, as lines."""
    first = max(0, divergence.at - AROUND)
    shown = divergence.rows[first : divergence.at + AROUND + 1]
    cells = [("#", "recorded", "  replayed now", "line")]
    cells += [_cells(row, divergence.ended) for row in shown]
    widths = [max(len(row[n]) for row in cells) for n in range(3)]
    lines = [divergence.words, *(f"  {one}" for one in divergence.differences), ""]
    if first:
        lines.append(f"  {_counted(first)} before")
    for index, (number, old, new, place) in enumerate(cells):
        here = "> " if index == divergence.at - first + 1 else "  "
        text = f"{here}{number.rjust(widths[0])}  {old.ljust(widths[1])}  {new.ljust(widths[2])}"
        lines.append(f"{text}  {place}".rstrip())
    hidden = len(divergence.rows) - first - len(shown)
    if hidden > 0:
        lines.append(f"  {_counted(hidden)} more")
    return lines


def _cells(row: Row, ended: bool) -> tuple[str, str, str, str]:
    old, new = row.recorded, row.yielded
    number, text = ("", "") if old is None else (str(old.position), _fit(old.text))
    if new is None:
        return number, text, "! gone" if ended else "", ""
    mark = "= same" if row.same else f"! {_fit(new.text)}"
    return number, text, mark, _place(new.line)


def _counted(steps: int) -> str:
    return f"{steps} step" if steps == 1 else f"{steps} steps"


def _fit(text: str) -> str:
    return text if len(text) <= TEXT_COLUMNS else f"{text[: TEXT_COLUMNS - 3]}..."


def _place(line: str) -> str:
    path, _, number = line.rpartition(":")
    return f"{PurePath(path).name}:{number}" if number.isdecimal() else ""
