"""`.rhx`: one exported history in a file, to be opened by the debugger elsewhere.

One record: the word ``rhx``, the format's number, then the fields of a `HistoryView` in their
order. The digest is checked on reading, so a damaged file is told from a short one.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from typing import Final

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError
from raftoral.runtime.views import HistoryView

FORMAT: Final = 1


def write_rhx(view: HistoryView) -> bytes:
    """Return the bytes of an export."""
    return pack_record(["rhx", FORMAT, *astuple(view)])


def read_rhx(data: bytes) -> HistoryView:
    """Return the history of an export; `CorruptionError` for anything else."""
    match unpack_record(data):
        case [
            "rhx",
            1,
            str(run_id),
            str(name),
            int(version),
            str(meaning_hash),
            int(node),
            list(events),
            str(sha256),
        ] if all(type(event) is bytes for event in events):
            if hashlib.sha256(b"".join(events)).hexdigest() != sha256:
                raise CorruptionError("the export is damaged: its events do not match its digest")
            return HistoryView(run_id, name, version, meaning_hash, node, events, sha256)
        case ["rhx", int(number), *_] if number != FORMAT:
            raise CorruptionError(f"the export has format {number}; this version reads {FORMAT}")
        case _:
            raise CorruptionError("this is no exported history (.rhx)")
