"""`raftoral certs`, and `raftoral start` with what it made."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from raftoral.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def certs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with an authority."""
    folder = tmp_path / "certs"
    assert main(["certs", "init", "--dir", str(folder), "--cluster", "shop"]) == 0
    assert "of shop" in capsys.readouterr().out
    return folder


def test_init_and_issue_make_what_start_takes(
    certs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step says what it made and which command comes next, and shows no key."""
    code = main(["certs", "issue", "n1", "--dir", str(certs), "--host", "10.0.0.1,a.example"])
    assert code == 0
    shown = capsys.readouterr()
    assert f"raftoral start --tls {certs / 'n1'}" in shown.out
    assert "PRIVATE" not in shown.out + shown.err
    assert {path.name for path in (certs / "n1").iterdir()} == {"ca.crt", "node.crt", "node.key"}


def test_nothing_is_replaced_without_force(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second time is a message and exit code 2, unless it is forced."""
    issue = ["certs", "issue", "n1", "--dir", str(certs)]
    init = ["certs", "init", "--dir", str(certs)]
    assert main(issue) == 0
    capsys.readouterr()
    for command in (issue, init):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert "--force" in told
        assert told.count("\n") == 1
        assert main([*command, "--force"]) == 0
        capsys.readouterr()


def test_without_an_authority_the_way_to_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`certs issue` in an empty folder says how to begin."""
    assert main(["certs", "issue", "n1", "--dir", str(tmp_path)]) == 2
    assert f"raftoral certs init --dir {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tls", "/no/such"], "no file /no/such/ca.crt"),
        (["--tls", "/no/such", "--key", "k"], "either --tls DIR"),
        (["--ca", "ca", "--cert", "c"], "go together"),
        (["--listen", "0.0.0.0:0"], "--tls"),
    ],
)
def test_options_that_cannot_work(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of a set of files, or files that are not there, is one message and exit code 2."""
    assert main(["start", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", *options]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1


@pytest.mark.processes
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("sort", ["folder", "files"])
def test_a_node_starts_beyond_loopback_with_certificates(
    certs: Path, sort: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With certificates a node listens on every address, without --insecure, and under its name."""
    assert main(["certs", "issue", "n1", "--dir", str(certs)]) == 0
    capsys.readouterr()
    own = certs / "n1"
    files = ["--ca", f"{own}/ca.crt", "--cert", f"{own}/node.crt", "--key", f"{own}/node.key"]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "raftoral", "start", "--listen", f"0.0.0.0:{port}"]
    command += ["--advertise", f"127.0.0.1:{port}", "--http", "127.0.0.1:0"]
    command += ["--tls", str(own)] if sort == "folder" else files
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert node.stdout is not None
        assert f"serves peers at 127.0.0.1:{port}" in node.stdout.readline()
        node.send_signal(signal.SIGINT)
        _, told = node.communicate(timeout=20)
    finally:
        node.kill()
        node.communicate()
    assert node.returncode == 0
    assert "Traceback" not in told


@pytest.mark.processes
@pytest.mark.xdist_group("processes")
def test_a_joiner_of_another_authority_gets_one_message(certs: Path, tmp_path: Path) -> None:
    """Started with a certificate of another CA, a node says what is wrong and exits with 2."""
    other = tmp_path / "other"
    assert main(["certs", "init", "--dir", str(other)]) == 0
    assert main(["certs", "issue", "n2", "--dir", str(other)]) == 0
    assert main(["certs", "issue", "n1", "--dir", str(certs)]) == 0
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    start = [sys.executable, "-m", "raftoral", "start", "--http", "127.0.0.1:0"]
    first = subprocess.Popen(
        [*start, "--listen", address, "--tls", str(certs / "n1")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout is not None
        first.stdout.readline()
        joined = subprocess.run(
            [*start, "--listen", "127.0.0.1:0", "--tls", str(other / "n2"), "--join", address],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert joined.returncode == 2
        (line,) = joined.stderr.splitlines()[-1:]
        assert "cannot join" in line
        assert "one `raftoral certs init`" in line
        first.send_signal(signal.SIGINT)
        _, told = first.communicate(timeout=20)
    finally:
        first.kill()
        first.communicate()
    assert told.count("no connection with 127.0.0.1: it refuses this node's certificate") == 1
    assert "Traceback" not in told + joined.stderr
