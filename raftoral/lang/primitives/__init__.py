"""What the evaluator can do with values: every operator and built-in by the name that the IR uses.

All pure and exact, all total or failing with a named error, equal on every node: no float, no
locale, no table that differs between Python versions (`lower` and `upper` change ASCII letters
only). The names are frozen by `ir.IR_VERSION`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.lang.primitives import comparing, containers, money, numbers, texts, times
from raftoral.lang.primitives.bounds import ITEMS_MAX, STRING_MAX
from raftoral.lang.primitives.comparing import same
from raftoral.lang.primitives.texts import text

if TYPE_CHECKING:
    from raftoral.lang.primitives.bounds import Table

__all__ = ["BULK", "ITEMS_MAX", "PRIMITIVES", "STRING_MAX", "same", "text"]

PRIMITIVES: Final[Table] = (
    numbers.PRIMITIVES
    | money.PRIMITIVES
    | times.PRIMITIVES
    | comparing.PRIMITIVES
    | containers.PRIMITIVES
    | texts.PRIMITIVES
)

BULK: Final = frozenset(
    {
        "eq", "ne", "eq.plain", "ne.plain", "lt", "le", "gt", "ge", "starts", "in.list", "in.string", "sum.int", "sum.decimal",
        "sum.money", "sum.duration", "min", "max", "range", "text", "concat", "concat.list",
        "sort", "sort.by", "keys", "values", "join", "lower", "upper", "replace", "split",
        "split.money", "text.case", "trim", "hash", "json", "count", "reverse", "any", "all", "merge", "put", "distinct",
    }
)  # fmt: skip
"""What takes longer for larger values; it costs fuel by the size of its arguments and result."""
