"""The commands against a node that is a dictionary: what they print, and what they exit with."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from raftoral import errors
from raftoral.api.server import listener, serve
from raftoral.cli import main
from raftoral.runtime.rhx import read_rhx
from raftoral.runtime.views import NodeView
from tests.api.fakes import FakeNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMANDS = [
    "start",
    "dev",
    "check",
    "fmt",
    "graph",
    "explain",
    "lsp",
    "deploy",
    "run",
    "list",
    "show",
    "history",
    "query",
    "signal",
    "update",
    "complete",
    "fail",
    "beat",
    "cancel",
    "terminate",
    "pause",
    "resume",
    "retry",
    "fork",
    "status",
    "schedules",
    "schedules put",
    "schedules show",
    "schedules pause",
    "schedules resume",
    "schedules drop",
    "schedules trigger",
    "schedules backfill",
    "nodes",
    "nodes remove",
    "nodes leave",
    "repl",
    "demo",
    "version",
    "certs",
    "certs init",
    "certs issue",
]


class Served:
    """A fake node behind a real socket, on a loop in a thread of its own."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.url = ""
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        async with serve(self.node, port=0) as self.url:
            self._up.set()
            await self._end.wait()

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Put the loggers back that a command sets up for its own process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("raftoral").setLevel(logging.NOTSET)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A node that every command finds through RAFTORAL_NODE."""
    with Served() as served:
        monkeypatch.setenv("RAFTORAL_NODE", served.url)
        yield served


def raftoral(*args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as its own process, in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "raftoral", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
        check=False,
    )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with listener("127.0.0.1", 0) as sock:
        port: int = sock.getsockname()[1]
    return port


# ------------------------------------------------------------------ help and usage
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command explains itself and exits with 0."""
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: raftoral {command}" in shown


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """The list of commands is complete, and no line of it is cut off."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command.split()[0]}" in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_help_imports_nothing_heavy() -> None:
    """`raftoral --help` loads neither the network, nor the database, nor rich."""
    code = (
        "import sys\nfrom raftoral.cli import main\nmain(['--help'])\n"
        "print(sorted({'httpx', 'starlette', 'uvicorn', 'rich', 'asyncio', 'lark', 'msgspec', "
        "'rocksdict', 'cryptography', 'ssl'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"


def test_wrong_calls_exit_with_2() -> None:
    """An unknown option is told in plain text, without boxes, and exits with 2."""
    done = raftoral("run", "order", "--nonsense")
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
    assert done.stderr.isascii()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "order", "--input", "{"], "--input"),
        (["run", "order", "--input", "3"], "object"),
        (["run", "order", "--input", "@/no/such/file"], "cannot read /no/such/file"),
        (["signal", "r", "paid", "--payload", "{"], "--payload"),
        (["run", "order", "--policy", "maybe"], "--policy is one of join, reject, retry_failed"),
        (["list", "--since", "yesterday"], "--since is an instant"),
        (["list", "--attr", "status"], "--attr is CELL=JSON"),
        (["history", "r", "--follow", "--local"], "--follow goes with neither"),
        (["complete", "-", "--payload", "-"], "not both"),
        (["fail", "t", "--details", "[1]"], "--details is a JSON object"),
        (["schedules", "put", "s", "w", "--when", "x", "--input", "1"], "--input is a JSON object"),
        (["schedules", "put", "s", "w", "--when", "x", "--overlap", "no"], "--overlap is one of"),
        (["schedules", "backfill", "s", "--from", "x", "--to", "1h"], "--from is an instant"),
        (["deploy", "/no/such.rwf"], "cannot read /no/such.rwf"),
        (["deploy", "app.py"], "--app"),
        (["show", "r", "--node", "ftp://x"], "URL"),
        (["show", ""], "names nothing"),
        (["signal", "r", ".."], "names nothing"),
        (["start", "--listen", "7400"], "HOST:PORT"),
        (["start", "--http", "a:99999"], "HOST:PORT"),
        (["start", "--http", "0.0.0.0:0"], "--insecure"),
        (["start", "--http", "127.0.0.1:0", "--app", "nothing.py:registry"], "no file"),
        (["start", "--http", "127.0.0.1:0", "--app", "no_such_module:registry"], "no module"),
        (["start", "--http", "127.0.0.1:0", "--app", "json"], "--app: write FILE.py:NAME"),
        (["start", "--http", "127.0.0.1:0", "--app", "json:dumps"], "must be a"),
        (["start", "--http", "127.0.0.1:0", "--app", "json:nothing"], "nothing named"),
    ],
)
def test_what_cannot_work_exits_with_2(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call that cannot work as it stands is one message on stderr, and 2."""
    assert main(args) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_optimized_python_is_refused() -> None:
    """A node does not start without its assertions."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "raftoral", "dev"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "python -O" in done.stderr


def test_taken_http_port_is_told() -> None:
    """Starting on a taken port exits with 5 and names who has it."""
    with listener("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        done = raftoral("start", "--http", f"127.0.0.1:{port}")
    assert done.returncode == 5
    assert f"port {port}" in done.stderr
    assert f"process {os.getpid()}" in done.stderr


@pytest.mark.parametrize(
    "args",
    [["run", "order"], ["list"], ["show", "r"], ["status"], ["nodes"], ["history", "r"]],
)
def test_dead_node_says_how_to_start_one(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every client command without a node exits with 5 and says what to do, in one line."""
    assert main([*args, "--node", f"http://127.0.0.1:{free_port()}"]) == 5
    shown = capsys.readouterr()
    assert "raftoral dev" in shown.err
    assert shown.err.count("\n") == 1


# ------------------------------------------------------------------ commands
def test_deploy(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deploying says what is new, and a second time that it is there already."""
    file = tmp_path / "order.rwf"
    file.write_text("workflow order v1 {}")
    assert main(["deploy", str(file)]) == 0
    assert main(["deploy", str(file)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("order version 1 deployed")
    assert "already" in second


def test_deploy_of_a_broken_file_shows_its_diagnostics(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Diagnostics come rendered on stderr, the other files are deployed all the same, and 1."""
    (tmp_path / "a.rwf").write_text("broken")
    (tmp_path / "b.rwf").write_text("workflow order v1 {}")
    assert main(["deploy", str(tmp_path / "a.rwf"), str(tmp_path / "b.rwf")]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error[RWF0101]")
    assert shown.out.startswith("order version 1 deployed")


def test_run_prints_the_id(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --wait the only output is the id, for the next command."""
    assert main(["run", "slow", "--id", "o-1", "--input", '{"a": 1}']) == 0
    assert capsys.readouterr().out == "o-1\n"
    assert served.node.inputs["o-1"] == {"a": 1}


def test_run_reads_input_from_a_file_and_from_a_pipe(served: Served, tmp_path: Path) -> None:
    """--input takes @FILE and - besides JSON."""
    (tmp_path / "in.json").write_text('{"a": 2}')
    url = {"RAFTORAL_NODE": served.url}
    assert raftoral("run", "slow", "--id", "f", "-i", f"@{tmp_path}/in.json", **url).returncode == 0
    assert raftoral("run", "slow", "--id", "p", "-i", "-", stdin='{"a": 3}', **url).returncode == 0
    assert served.node.inputs == {"f": {"a": 2}, "p": {"a": 3}}


def test_run_and_wait_prints_the_result(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """With --wait the output is the result as JSON."""
    assert main(["run", "order", "--wait", "--input", '{"total": "9.99EUR"}']) == 0
    assert json.loads(capsys.readouterr().out) == {"total": "9.99EUR"}


def test_run_and_wait_fails_as_the_run_does(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that failed exits with 1 and says why."""
    assert main(["run", "broken", "--wait"]) == 1
    assert "CardDeclined: no money" in capsys.readouterr().err


def test_run_and_wait_gives_up_after_the_timeout(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on exits with 1, says what it waits for and how to look again."""
    assert main(["run", "slow", "--id", "s", "--wait", "--timeout", "0.1"]) == 1
    shown = capsys.readouterr().err
    assert "waits for ship" in shown
    assert "raftoral show s" in shown


def test_signal(served: Served) -> None:
    """A signal is sent once, with its payload."""
    assert main(["run", "slow", "--id", "s"]) == 0
    assert main(["signal", "s", "paid", "--payload", '{"by": "x"}', "--id", "1"]) == 0
    assert served.node.signals == [("s", "paid", {"by": "x"}, "1")]


def test_list_show_status_nodes(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """What people see in a pipe is plain text, with the facts that they asked for."""
    assert main(["run", "slow", "--id", "s"]) == 0
    assert main(["run", "broken", "--id", "b"]) == 0
    capsys.readouterr()
    for args, says in (
        (["list"], ["id", "slow v1", "running", "failed"]),
        (["list", "--status", "failed", "--limit", "1"], ["broken v1"]),
        (["show", "s"], ["running, waits for ship", "node 1, epoch 7"]),
        (["show", "b"], ["CardDeclined: no money", '"code": "51"', "after 1.000 s"]),
        (["status"], ["c1", "node 1", "9 of 9"]),
        (["nodes"], ["1 (this)", "127.0.0.1:7400"]),
    ):
        assert main(args) == 0
        shown = capsys.readouterr().out
        assert shown.isascii()
        for words in says:
            assert words in shown, (args, shown)


def test_a_removal_is_waited_for_unless_told_otherwise(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what the node still has to do, and when it has left; --no-wait returns at once."""
    other = NodeView(2, "b", "127.0.0.1:7401", "", True, False, "voter", [1], owned_runs=3)
    served.node.others, served.node.looks = [other], 3
    assert main(["nodes", "remove", "b"]) == 0
    assert served.node.removed == ["b"]
    assert capsys.readouterr().out.splitlines() == [
        "node 2 leaves: it owns 3 runs, is in groups 1",
        "node 2 (b) has left the cluster",
    ]
    served.node.others, served.node.removed = [other], []
    assert main(["nodes", "remove", "2", "--no-wait"]) == 0
    assert "raftoral nodes` shows how far" in capsys.readouterr().out
    served.node.looks = 1_000
    assert main(["nodes", "remove", "2", "--timeout", "0"]) == 1
    assert "has not left within 0 s and goes on leaving" in capsys.readouterr().err
    assert main(["nodes"]) == 0
    assert "up, leaving" in capsys.readouterr().out


def test_a_removal_that_cannot_be_is_told(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown node is an error; --node stands behind the command that it is for."""
    assert main(["nodes", "remove", "9"]) == 3
    assert "there are: 1 (a), 2 (b)" in capsys.readouterr().err
    assert main(["nodes", "--node", served.url, "remove", "2"]) == 2
    assert "write --node behind `remove`" in capsys.readouterr().err
    assert main(["nodes", "leave"]) == 0
    assert served.node.removed == ["1"]
    assert "no other node is known that could say when" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["list"], ["show", "s"], ["history", "s"], ["status"], ["nodes"]])
def test_json_output_is_json(
    served: Served, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """--json prints one JSON value and nothing else."""
    main(["run", "slow", "--id", "s"])
    capsys.readouterr()
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_history_and_its_export(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A history is shown a line an event, or written to a file that reads back."""
    main(["run", "order", "--id", "o"])
    assert main(["history", "o", "--local"]) == 0
    shown = capsys.readouterr().out
    assert "Set" in shown
    assert "copy of node 2" in shown
    assert main(["history", "o", "--export", str(tmp_path / "o.rhx")]) == 0
    assert len(read_rhx((tmp_path / "o.rhx").read_bytes()).events) == 3


def test_errors_of_the_node_are_told(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """What a node refuses is one line on stderr, and the exit code of its kind."""
    assert main(["show", "none"]) == 3
    assert capsys.readouterr().err == "raftoral: no run none\n"


def test_a_bug_is_one_line_and_no_traceback(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected error of the node reaches people as a sentence."""
    served.node.failing = ZeroDivisionError("x")
    assert main(["status"]) == 1
    assert "its log has what happened" in capsys.readouterr().err


def test_an_unavailable_node_is_asked_again(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a leader is being elected the command waits for it."""
    served.node.failing = errors.Unavailable("no leader is known")
    threading.Timer(0.5, setattr, (served.node, "failing", None)).start()
    assert main(["nodes"]) == 0


def test_output_cut_short_is_no_error(served: Served) -> None:
    """A reader that closes the pipe early causes no complaint."""
    for n in range(300):
        asyncio.run(served.node.start_run("slow", {}, id=f"run-with-a-long-name-{n:04}"))
    done = subprocess.run(
        f"{sys.executable} -m raftoral list --limit 1000 --node {served.url} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
