"""An error that a node answered, as the same class that the node raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral import errors

if TYPE_CHECKING:
    from collections.abc import Iterator


def error_of(code: str, message: str) -> errors.RaftoralError:
    """Return the error of that code; a code that this version does not know is a `RaftoralError`."""
    kind = next((kind for kind in _tree(errors.RaftoralError) if kind.code == code), None)
    if kind is None or kind.__init__ is not Exception.__init__:
        return _special(kind, message)
    return kind(message)


def _special(kind: type[errors.RaftoralError] | None, message: str) -> errors.RaftoralError:
    """Return an error whose class takes fields that do not travel; the message says them."""
    if kind is errors.NotLeader:
        error = errors.NotLeader()
        error.args = (message,)
        return error
    if kind is not None and issubclass(kind, errors.WorkflowFailed):
        name, _, rest = message.partition(": ")
        return kind(name, rest)
    return errors.RaftoralError(message)


def _tree(kind: type[errors.RaftoralError]) -> Iterator[type[errors.RaftoralError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
