from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from raftoral.api.server import listener, serve
from raftoral.errors import UnknownRun
from raftoral.runtime.rhx import write_rhx
from raftoral_repl.__main__ import main
from tests.api.fakes import FakeNode
from tests.repl.rwf_sessions import SHOP, rwf_history
from tests.repl.sessions import python_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from raftoral.runtime.views import HistoryView

APP = f"{SHOP.with_name('shop.py')}:registry"


class OneRun(FakeNode):
    """A node that has one run."""

    async def history(self, id: str, *, local: bool = False) -> HistoryView:
        """Return the history of that run."""
        if id != "o-7719":
            raise UnknownRun(f"no run {id}")
        return rwf_history()


@contextmanager
def served() -> Iterator[str]:
    """Serve the node on a loop in a thread of its own; the URL."""
    up, end, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    urls: list[str] = []

    async def run() -> None:
        async with serve(OneRun(), port=0) as url:
            urls.append(url)
            up.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert up.wait(10)
    yield urls[0]
    loop.call_soon_threadsafe(end.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two exports and a script."""
    (tmp_path / "python.rhx").write_bytes(write_rhx(python_history()))
    (tmp_path / "rwf.rhx").write_bytes(write_rhx(rwf_history()))
    (tmp_path / "steps").write_text("step\nvars status\n", encoding="utf-8")
    return tmp_path


def failing(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    """Return exit code and message; a failure is told on stderr, without a traceback."""
    code = main(list(args))
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return code, said.err


# ------------------------------------------------------------------ what can be opened
def test_an_export_of_a_python_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the application that has its code, a script steps through it."""
    args = [str(files / "python.rhx"), "--app", APP, "--script", str(files / "steps")]
    assert main(args) == 0
    assert "o-7719:2> vars status\nstatus  = 'received'\n" in capsys.readouterr().out


def test_an_export_of_a_rwf_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It carries its code, so it is opened alone, or on a text."""
    steps = ["--script", str(files / "steps")]
    assert main([str(files / "rwf.rhx"), *steps]) == 0
    alone = capsys.readouterr().out
    assert main([str(SHOP), "--history", str(files / "rwf.rhx"), *steps]) == 0
    assert capsys.readouterr().out == alone
    other = str(SHOP.with_name("shop_v2.rwf"))
    assert main([other, "--history", str(files / "rwf.rhx"), *steps]) == 0
    assert "has other code than the run was recorded with" in capsys.readouterr().out


def test_a_run_of_a_node(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is fetched by its id, from --node or from RAFTORAL_NODE; an unknown one is told."""
    steps = ["--script", str(files / "steps")]
    with served() as url:
        assert main(["o-7719", "--node", url, *steps]) == 0
        monkeypatch.setenv("RAFTORAL_NODE", url)
        assert main(["o-7719", *steps]) == 0
        assert "shop.rwf:16" in capsys.readouterr().out
        assert failing(capsys, "o-1") == (1, "raftoral: no run o-1\n")


# ------------------------------------------------------------------ what cannot
def test_called_wrongly_is_2(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the arguments name must be there and fit together."""
    python, rwf = str(files / "python.rhx"), str(files / "rwf.rhx")
    cases = [
        ([], "name what to step through"),
        (["--nonsense"], "unrecognized arguments"),
        ([str(files / "none.rhx")], "there is no file"),
        ([str(files / "none.rwf")], "there is no file"),
        ([str(SHOP)], "raftoral history RUN --export run.rhx"),
        ([python], "--app FILE.py:registry"),
        ([python, "--app", "nowhere.py:registry"], "there is no file nowhere.py"),
        ([python, "--app", APP.replace(":registry", ":order")], "must be a"),
        ([rwf, "--history", rwf], "--history belongs to a .rwf file"),
        ([rwf, "--script", str(files / "none")], "--script: cannot read"),
        ([rwf, "--script", rwf], "is no text"),
        (["o-1", "--node", "nonsense"], "no URL"),
    ]
    for args, words in cases:
        code, said = failing(capsys, *args)
        assert words in said, args
        assert code == 2, args


def test_an_application_that_fails_is_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error in the user's own module is a sentence that names it."""
    (files / "bad_app.py").write_text("1 / 0\n", encoding="utf-8")
    app = f"{files / 'bad_app.py'}:registry"
    code, said = failing(capsys, str(files / "python.rhx"), "--app", app)
    assert code == 2
    assert "ZeroDivisionError: division by zero" in said


def test_what_cannot_be_read_is_1(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged export, another file, a text that does not compile, a node that is not there."""
    data = (files / "rwf.rhx").read_bytes()
    (files / "cut.rhx").write_bytes(data[:-40])
    (files / "changed.rhx").write_bytes(data.replace(b"received", b"receivee", 1))
    (files / "other.rhx").write_text("no history", encoding="utf-8")
    (files / "bad.rwf").write_text("workflow {", encoding="utf-8")
    (files / "foreign.rwf").write_text(
        "workflow other version 1 (x: int) -> int { return x }\n", encoding="utf-8"
    )
    with listener("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    cases = [
        (["cut.rhx"], "is no history that can be read"),
        (["changed.rhx"], "is no history that can be read"),
        (["other.rhx"], "is no history that can be read"),
        (["bad.rwf", "--history", "rwf.rhx"], "does not compile\nerror["),
        (["foreign.rwf", "--history", "rwf.rhx"], "has no such workflow: other"),
        (["o-1", "--node", f"http://127.0.0.1:{port}"], "no node answers"),
    ]
    for (target, *rest), words in cases:
        first = str(files / target) if "." in target else target
        args = [first, *(str(files / word) if word.endswith(".rhx") else word for word in rest)]
        code, said = failing(capsys, *args)
        assert words in said, args
        assert code == 1, args


def test_a_workflow_that_the_application_does_not_have(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says which workflows it has."""
    (files / "empty_app.py").write_text(
        "from raftoral import Registry\nregistry = Registry()\n", encoding="utf-8"
    )
    app = f"{files / 'empty_app.py'}:registry"
    code, said = failing(capsys, str(files / "python.rhx"), "--app", app)
    assert (code, "it has none" in said) == (1, True)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit codes are in the help, and help is no failure."""
    assert main(["--help"]) == 0
    assert "3 a bad command" in capsys.readouterr().out
