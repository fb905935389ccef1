"""What a run's code gives, as the bytes that a history keeps."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from raftoral.codec import pack, unpack
from raftoral.convert import (
    AS_STORED,
    from_plain,
    mentions_float,
    result_type,
    takes_float,
    to_plain,
)
from raftoral.errors import Cancelled, RaftoralError, WorkflowFailed
from raftoral.replay.failures import failure_of
from raftoral.replay.history import CALL_BYTES_MAX, Ended, Set, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.replay.effects import Cell, Compute
    from raftoral.values import Value


def call_bytes(effect: Compute[Any]) -> bytes:
    """Return the packed call of a compute; its arguments as a digest where they are long."""
    call = effect.call
    args = [to_plain(arg) for arg in call.args]
    kwargs = {name: to_plain(value) for name, value in call.kwargs}
    floats = call.function is not None and takes_float(call.function)
    data = pack([call.activity, args, kwargs], floats=floats, names=("activity", "args", "kwargs"))
    if len(data) <= CALL_BYTES_MAX:
        return data
    return pack([call.activity, sha256(data).hexdigest(), len(data)])


def set_bytes(cell: Cell[Any], value: object) -> tuple[bytes, object]:
    """Return the `Set` of a cell's new value, and the value as it will be read back."""
    plain: Any = to_plain(value)
    data = encode(Set(cell.path, plain), floats=mentions_float(cell.kind))
    stored = plain if type(plain) in AS_STORED else unpack(data)[2]  # type: ignore[index]
    kind = cell.kind
    if kind is not None and kind is not type(None) and value is not None:
        stored = from_plain(stored, kind)
    return data, stored


def end_bytes(value: object, *, floats: bool) -> bytes:
    """Return the end of a run that returned ``value``; a failed one if no history can hold it."""
    try:
        result = cast("Value", to_plain(value))
        return encode(Ended("completed", result), floats=floats)
    except Exception as error:
        return failed_bytes(error)


def failed_bytes(error: BaseException) -> bytes:
    """Return the end of a run that ``error`` left."""
    status = "cancelled" if isinstance(error, Cancelled) else "failed"
    return encode(Ended(status, failure_of(error)))


def pack_result(effect: Compute[Any], value: object) -> Value:
    """Return an activity's result as it will be stored, checked against its declared type.

    Raises `WorkflowFailed` named ``BadResult`` when it cannot be stored or read back.
    """
    data = result_bytes(effect.call.activity, effect.call.function, value)
    return cast("Value", value) if type(value) in AS_STORED else unpack(data)


def result_bytes(activity: str, function: Callable[..., Any] | None, value: object) -> bytes:
    """Return the packed result of an activity, checked as `pack_result` says.

    Without a ``function`` no type is declared.
    """
    try:
        plain = to_plain(value)
        kind = result_type(function) if function is not None else Any
        data = pack(plain, floats=mentions_float(kind))
        from_plain(plain if type(plain) in AS_STORED else unpack(data), kind)
    except (RaftoralError, RecursionError) as error:
        message = f"the result of {activity} cannot be stored: {error}"
        raise WorkflowFailed("BadResult", message) from None
    return data
