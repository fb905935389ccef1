"""`.rhx`: one exported history in a file, to be opened by the debugger elsewhere.

One record: the word ``rhx``, the format's number, then the fields of a `HistoryView` in their
order. The digest is checked on reading, so a damaged file is told from a short one.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, fields
from typing import Final, cast

from raftoral.codec import pack_record, unpack_record
from raftoral.convert import from_plain
from raftoral.errors import CorruptionError, InvalidInput
from raftoral.runtime.views import HistoryView

FORMAT: Final = 1
NAMES: Final = tuple(field.name for field in fields(HistoryView))


def write_rhx(view: HistoryView) -> bytes:
    """Return the bytes of an export."""
    return pack_record(["rhx", FORMAT, *astuple(view)])


def read_rhx(data: bytes) -> HistoryView:
    """Return the history of an export; `CorruptionError` for anything else."""
    match unpack_record(data):
        case ["rhx", int(number), *_] if number != FORMAT:
            raise CorruptionError(f"the export has format {number}; this version reads {FORMAT}")
        case ["rhx", _, *values] if len(values) == len(NAMES):
            return _checked(values)
        case _:
            raise CorruptionError("this is no exported history (.rhx)")


def _checked(values: list[object]) -> HistoryView:
    try:
        view = cast(HistoryView, from_plain(dict(zip(NAMES, values, strict=True)), HistoryView))
    except InvalidInput as error:
        raise CorruptionError(f"the export is damaged: {error}") from None
    if hashlib.sha256(b"".join(view.events)).hexdigest() != view.sha256:
        raise CorruptionError("the export is damaged: its events do not match its digest")
    return view
