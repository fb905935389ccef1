"""The cells of a run that lists may ask for: their last values, and the lists of equal ones.

A value counts by its bytes: True is not 1. One that is too large is not searched, and somebody is
told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftoral.codec import pack
from raftoral.errors import LimitExceeded, UsageError
from raftoral.machines import layout
from raftoral.machines.events import Warned
from raftoral.replay.history import EVENT_BYTES_MAX

if TYPE_CHECKING:
    from raftoral.kv import Reader, Transaction
    from raftoral.machines.runs import Run
    from raftoral.machines.step import Step
    from raftoral.values import Value

CELLS_MAX: Final = 16
NAME_LENGTH_MAX: Final = 200
VALUE_BYTES_MAX: Final = 1_024


def check_names(names: list[str]) -> None:
    """Refuse names that cannot be searched for, or too many of them."""
    if len(names) > CELLS_MAX:
        raise LimitExceeded(
            f"a run has at most {CELLS_MAX} cells that are searched, not {len(names)}"
        )
    for name in names:
        if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
            raise UsageError(f"{name!r:.60} names no cell that could be searched")


def put(step: Step, run: Run, path: str, value: Value) -> None:
    """Note the new value of a cell that is searched."""
    data = pack(value, floats=True, bytes_max=EVENT_BYTES_MAX)
    _drop(step.txn, run, path)
    if len(data) > VALUE_BYTES_MAX:
        text = (
            f"cell {path} takes {len(data):,} bytes and at most {VALUE_BYTES_MAX:,} are searched, "
            "so lists do not find it by this value"
        )
        step.events.append(Warned(run.id, text))
        return
    step.txn.put(layout.cell_key(run.id, path), data)
    step.txn.put(_list_key(run, path, data), b"")


def clear(txn: Transaction, run: Run) -> None:
    """Drop all cells of a run."""
    for path in cells(txn, run):
        _drop(txn, run, path)


def _drop(txn: Transaction, run: Run, path: str) -> None:
    key = layout.cell_key(run.id, path)
    data = txn.get(key)
    if data is not None:
        txn.delete(key)
        txn.delete(_list_key(run, path, data))


def facet(path: str, data: bytes) -> bytes:
    """Return the facet of runs whose cell ``path`` has these canonical bytes."""
    return layout.facet("cell", path, data)


def _list_key(run: Run, path: str, data: bytes) -> bytes:
    return layout.list_key(facet(path, data), run.started_at, run.id)


def cells(reader: Reader, run: Run) -> dict[str, bytes]:
    """Return the packed values of a run's cells that are searched, by path."""
    if not run.search:
        return {}
    prefix = layout.cell_key(run.id, "")
    return {key[len(prefix) :].decode(): data for key, data in reader.scan(prefix)}
