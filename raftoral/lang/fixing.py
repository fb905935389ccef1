"""Changes a text as the fixes of its reports say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.lang.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raftoral.lang.diagnostics import Diagnostic, Fix

ROUNDS_MAX: Final = 20
"""Mending one mistake may show another; so many times at most."""


def applied(text: str, fixes: Iterable[Fix]) -> tuple[str, int]:
    """Return the text with the fixes made, and how many; one that meets an earlier one is left."""
    taken: list[tuple[int, int, str]] = []
    count = 0
    for fix in fixes:
        edits = [(one.span.start, one.span.end, one.text) for one in fix.edits]
        if any(_meet(one, other) for one in edits for other in taken):
            continue
        taken += edits
        count += 1
    for start, end, new in sorted(taken, reverse=True):
        text = text[:start] + new + text[end:]
    return text, count


def _meet(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return (one[0] < other[1] and other[0] < one[1]) or one[0] == other[0]


def mended(
    source: Source, check: Callable[[Source], Iterable[Diagnostic]]
) -> tuple[Source, list[Diagnostic]]:
    """Return the source with all safe fixes made, and the reports that they answered."""
    done: list[Diagnostic] = []
    for _ in range(ROUNDS_MAX):
        found = [one for one in check(source) if any(fix.safe for fix in one.fixes)]
        safe = [next(fix for fix in one.fixes if fix.safe) for one in found]
        text, count = applied(source.text, safe)
        if not count:
            break
        done += found[:count]
        source = Source(source.path, text)
    return source, done
