"""A stored history replays in every later release: those that are kept here, and the code of today.

`make golden` writes a file for each scenario that has none. It never touches one that is there; what
was stored is what runs of users have on their disks.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from raftoral.ids import RunId
from raftoral.replay import history
from raftoral.replay.history import decode, encode
from raftoral.replay.interpreter import advance
from raftoral.runtime.rhx import write_rhx
from raftoral.testing import replay
from raftoral.testing.histories import begin_of, chosen, load
from tests.golden import flows
from tests.golden.scenarios import FOLDER, SCENARIOS

if TYPE_CHECKING:
    from pathlib import Path

SUMS = FOLDER / "SHA256SUMS"


def test_each_scenario_has_its_file(golden: bool) -> None:
    """A scenario without a stored history is written with `make golden`, once."""
    missing = [name for name in SCENARIOS if not (FOLDER / f"{name}.rhx").exists()]
    if not golden:
        assert missing == [], "make golden"
        return
    sums = SUMS.read_text() if SUMS.exists() else ""
    for name in missing:
        data = write_rhx(SCENARIOS[name]())
        (FOLDER / f"{name}.rhx").write_bytes(data)
        sums += f"{sha256(data).hexdigest()}  {name}.rhx\n"
    SUMS.write_text(sums)


FILES = sorted(FOLDER.glob("*.rhx"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_history_replays_on_the_code_of_today(path: Path) -> None:
    """Every event is read, every step is repeated, nothing is yielded beyond the record."""
    replay(path, flows.registry)
    view = load(path)
    outcome = advance(RunId(view.run_id), begin_of(chosen(view, flows.registry)), view.events)
    assert (outcome.yielded, outcome.waits) == ((), ())
    assert [encode(decode(data), floats=True) for data in view.events] == view.events


def test_stored_histories_are_never_rewritten() -> None:
    """The files are those that were stored, byte for byte; a new one is added with its sum."""
    lines = SUMS.read_text().splitlines()
    found = [f"{sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in FILES]
    assert sorted(lines) == sorted(found)


def test_every_kind_of_event_is_stored() -> None:
    """No kind of event could change its form unnoticed."""
    stored = {type(decode(data)) for path in FILES for data in load(path).events}
    assert stored == set(history._KINDS)
