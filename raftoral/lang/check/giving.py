"""What a block gives to what is around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftoral.lang.source import Span
    from raftoral.lang.types import Type


@dataclass(slots=True)
class Giving:
    """Where a `give` leads: the types that were given so far, and where."""

    kinds: list[tuple[Type, Span]] = field(default_factory=list)
