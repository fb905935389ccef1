"""`raftoral replay`: stored histories on the code of today."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from raftoral.cli import main
from raftoral.registry.apps import load_workflows
from raftoral.testing import run, rwf

if TYPE_CHECKING:
    from pathlib import Path

APP = """\
from raftoral import Checkpoint, Compute, Flow, Registry, workflow

def act(x: str) -> str:
    return x

@workflow("keep", version=1)
def keep(name: str) -> Flow[str]:
    status = yield from Checkpoint("status", "new")
    one = yield from Compute("one", act, name)
    yield from status.set("old")
    return one

registry = Registry(workflows=[keep])
"""
TEXT = """\
activity a.act(x: string) -> string timeout 5s

workflow keep version 1 (name: string) -> string {
  compute one = a.act(name)
  return one
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an application, a text, and a history of each; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "keeping.py").write_text(APP)
    (tmp_path / "keep.rwf").write_text(TEXT)
    (workflow,) = load_workflows("keeping.py:registry")
    run(workflow, "Ann", real=True).save("python.rhx")
    run(rwf("keep.rwf"), "Ann", mocks={"a.act": "x"}).save("rwf.rhx")
    return tmp_path


def test_what_fits_is_said_in_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A history that the code repeats is named with its workflow and length."""
    arguments = ["python.rhx", "rwf.rhx", "--app", "keeping.py:registry", "--twice"]
    assert main(["replay", *arguments]) == 0
    assert capsys.readouterr().out == (
        "python.rhx: keep version 1, 5 events: fits\nrwf.rhx: keep version 1, 3 events: fits\n"
    )


def test_a_change_is_told_with_its_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code that leaves a history is told in words, with both sides; the exit code is 1."""
    changed = APP.replace('Compute("one"', 'Compute("two"').replace("registry", "changed")
    (folder / "changed.py").write_text(changed)
    assert main(["replay", "python.rhx", "--app", "changed.py:changed"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("python.rhx: keep version 1, 5 events: does not fit\n")
    assert "  `one` is called `two` now\n" in out
    assert "changed.py:9" in out
    (folder / "changed.rwf").write_text(TEXT.replace("compute one", "log name\n  compute one"))
    assert main(["replay", "rwf.rhx", "--on", "changed.rwf", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["fits"], found["cause"]) == (False, "inserted")
    assert found["line"].endswith(":4")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["python.rhx"], "give its workflow, or the registry"),
        (["nothing.rhx"], "cannot read nothing.rhx"),
        (["keeping.py"], "keeping.py is no history that can be read"),
        (["python.rhx", "--app", "keeping.py:nobody"], "has nothing named"),
        (["rwf.rhx", "--on", "keeping.py"], "does not compile"),
        (["rwf.rhx", "--on", "keep.rwf", "--twice"], "--twice is for Python workflows"),
    ],
)
def test_what_cannot_be_replayed_is_called_wrongly(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no history, or has no code, exits with 2 and says why."""
    assert main(["replay", *arguments]) == 2
    assert said in capsys.readouterr().err
