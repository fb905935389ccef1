"""The requirements as Python workflows, one module a suite. `CASES` has all of them by id."""

from __future__ import annotations

from tests.conformance.cases import callback, child, condition, invoke, map, parallel, step, wait
from tests.conformance.cases.common import CASES, NOT_EXPRESSIBLE, Case

__all__ = [
    "CASES", "NOT_EXPRESSIBLE", "Case", "callback", "child", "condition", "invoke", "map",
    "parallel", "step", "wait",
]  # fmt: skip
