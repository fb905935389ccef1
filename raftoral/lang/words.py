"""The words of the language by what they do, for everything that paints programs.

A test keeps the groups in step with the grammar: each of its words is in exactly one.
"""

from __future__ import annotations

from typing import Final

EFFECTS: Final = (
    "await", "call", "callback", "checkpoint", "compute", "log", "parallel", "race", "restart",
    "saga", "sleep", "start", "undo",
)  # fmt: skip
"""What writes events: the steps of a history begin with these."""

CONTROL: Final = (
    "branch", "break", "case", "catch", "collect", "continue", "else", "fail", "finally", "for",
    "give", "if", "match", "require", "return", "then", "try", "while",
)  # fmt: skip

CLAUSES: Final = (
    "after", "answer", "as", "at_most_once", "backoff", "by", "close", "compensate", "deadline",
    "factor", "heartbeat", "idempotent", "jitter", "key", "limit", "max", "min", "never", "on", "outcomes",
    "raises", "retry", "search", "timeout", "tolerate", "until", "version", "with",
)  # fmt: skip

DEFINITIONS: Final = (
    "activity", "const", "enum", "error", "fn", "import", "let", "policy", "query", "record",
    "signal", "test", "update", "var", "workflow",
)  # fmt: skip

TESTING: Final = (
    "at", "cancel", "crash", "expect", "fails", "failure", "given", "mock", "returns", "takes",
    "times",
)  # fmt: skip

OPERATORS: Final = ("and", "decode", "in", "is", "not", "or")

CONSTANTS: Final = ("false", "none", "true")

TYPES: Final = (
    "bool", "bytes", "decimal", "duration", "int", "json", "list", "map", "money", "string",
    "timestamp",
)  # fmt: skip
"""No words of the grammar but names of types, which painters know too."""

GROUPS: Final = {
    "effects": EFFECTS,
    "control": CONTROL,
    "clauses": CLAUSES,
    "definitions": DEFINITIONS,
    "testing": TESTING,
    "operators": OPERATORS,
    "constants": CONSTANTS,
}
