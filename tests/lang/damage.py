"""Texts with a few words exchanged, doubled or taken out."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from raftoral._assets import asset

if TYPE_CHECKING:
    from random import Random

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


@cache
def words() -> tuple[str, ...]:
    """Return the words and signs of all sample programs, as often as they stand there."""
    pages = sorted(asset("workflows").rglob("*.rwf"))
    return tuple(word for page in pages for word in _TOKEN.findall(page.read_text()))


def damaged(text: str, chance: Random) -> str:
    """Return a text with one to three edits."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at = chance.choice(list(_TOKEN.finditer(text)))
        other = chance.choice(words())
        new = chance.choice(["", other, f"{other} {at[0]}", f"{at[0]} {at[0]}"])
        text = text[: at.start()] + new + text[at.end() :]
    return text
