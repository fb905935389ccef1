"""Failures as data: what a history keeps of an exception, and the exception that it becomes again."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from raftoral.codec import pack
from raftoral.convert import to_plain
from raftoral.errors import Cancelled, CorruptionError, WorkflowFailed

if TYPE_CHECKING:
    from raftoral.replay.history import Failure
    from raftoral.values import Value

MESSAGE_MAX: Final = 4_000
"""How many characters of a failure's message are kept."""


def failure_of(error: BaseException) -> Failure:
    """Return an exception as stored: its name, message and declared fields. Never fails.

    Only fields that the exception's class declares by annotation are kept: whatever else hangs on
    an exception may hold secrets or be unequal on another node. Fields that cannot be stored, or not
    within what a value may take, are left out, and the message says so; it is cut at 4,000
    characters.
    """
    if isinstance(error, WorkflowFailed):
        name, message = str(error.name), str(error.message)
    elif isinstance(error, Cancelled):
        name, message = "Cancelled", error.reason
    else:
        name, message = type(error).__name__, _message_of(error)
    name, message = _storable(name, 200), _storable(message, MESSAGE_MAX)
    try:
        details: Any = to_plain(_fields(error))
        pack([name, message, details])
    except Exception as unfit:
        left_out = _storable(f" (its fields are left out: {_message_of(unfit)})", 500)
        message, details = message[: MESSAGE_MAX - len(left_out)] + left_out, {}
    return [name, message, details]


def _fields(error: BaseException) -> dict[str, Any]:
    if isinstance(error, WorkflowFailed):
        return dict(error.details)
    if isinstance(error, Cancelled):
        return {}
    return {key: getattr(error, key) for key in _declared(type(error)) if hasattr(error, key)}


def _declared(kind: type) -> list[str]:
    """Return the fields that an exception's class and its bases declare; no class variables."""
    return [
        name
        for base in reversed(kind.__mro__)
        for name, hint in inspect.get_annotations(base).items()
        if "ClassVar" not in str(hint)
    ]


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _storable(text: str, length_max: int) -> str:
    """Return ``text`` as any history can hold it: cut, and without halves of characters."""
    return text[:length_max].encode("utf-8", "replace").decode()


def as_error(failure: Value, attempts: int = 0) -> WorkflowFailed:
    """Return a stored failure as the exception that is thrown into a workflow."""
    match failure:
        case [str(name), str(message), dict(details)]:
            return WorkflowFailed(name, message, details, attempts=attempts)
        case _:
            pass
    raise CorruptionError(f"this is no stored failure: {failure!r:.80}")
