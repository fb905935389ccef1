"""The authority and what it issues, as files and as certificates."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import UsageError
from raftoral.security.certificates import create_authority, inspect, issue
from raftoral.security.names import node_of
from raftoral.security.tls import Tls, TlsFiles
from tests.security.authorities import LONG_AGO, NOW, Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA."""
    return Authority.create(tmp_path / "certs")


def test_a_node_gets_what_it_needs_and_nothing_else(authority: Authority) -> None:
    """The folder of a node holds its key, its certificate and the CA's, but never the CA's key."""
    old_mask = os.umask(0)
    try:
        own = issue(authority.folder, "n1", [], NOW)
    finally:
        os.umask(old_mask)
    assert {path.name: path.stat().st_mode & 0o777 for path in own.iterdir()} == {
        "node.key": 0o600,
        "node.crt": 0o644,
        "ca.crt": 0o644,
    }
    assert (authority.folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert own.stat().st_mode & 0o077 == 0
    assert (own / "ca.crt").read_bytes() == (authority.folder / "ca.crt").read_bytes()
    assert inspect(own / "node.crt").node == "n1"
    assert inspect(authority.folder / "ca.crt").node is None


def test_the_certificate_says_what_openssl_reads(authority: Authority) -> None:
    """OpenSSL itself, strictly, accepts the chain and reads node, hosts and uses out of it."""
    own = issue(authority.folder, "n1", ["10.1.2.3", "a.example", "fe80::7"], NOW)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", own / "ca.crt", own / "node.crt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = subprocess.run(
        ["openssl", "x509", "-in", own / "node.crt", "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for said in (
        "DNS:n1.node.raftoral, DNS:localhost, IP Address:127.0.0.1",
        "IP Address:10.1.2.3, DNS:a.example",
        "FE80:0:0:0:0:0:0:7",
        "NIST CURVE: P-256",
        "CA:FALSE",
        "TLS Web Server Authentication, TLS Web Client Authentication",
    ):
        assert said in text


def test_a_node_outlives_neither_its_year_nor_its_authority(tmp_path: Path) -> None:
    """A certificate is good for a year, or for as long as the authority is."""
    authority = Authority.create(tmp_path)
    year = inspect(authority.files("n1").cert).until - NOW
    assert timedelta(days=364) < year <= timedelta(days=365)
    late = LONG_AGO + timedelta(days=3_600)
    assert inspect(authority.files("n2", at=late).cert).until - late < timedelta(days=51)


def test_nothing_is_replaced_unless_forced(authority: Authority) -> None:
    """Neither an authority nor a node's key is overwritten without being told so; then both are."""
    own = issue(authority.folder, "n1", [], NOW)
    paths = [*own.iterdir(), authority.folder / "ca.key", authority.folder / "ca.crt"]
    before = {path: path.read_bytes() for path in paths}
    with pytest.raises(UsageError, match="--force"):
        issue(authority.folder, "n1", [], NOW)
    with pytest.raises(UsageError, match="--force"):
        create_authority(authority.folder, "test", NOW)
    assert {path: path.read_bytes() for path in paths} == before
    create_authority(authority.folder, "test", NOW, force=True)
    issue(authority.folder, "n1", [], NOW, force=True)
    assert all(path.read_bytes() != before[path] for path in paths)


@pytest.mark.parametrize("name", ["", "N1", "a.b", "a_b", "-a", "a-", "a" * 64, "*", "ä", "n1\n"])
def test_names_that_no_certificate_carries(authority: Authority, name: str) -> None:
    """A node's name is one lower-case label, and nothing that could mean another node."""
    with pytest.raises(UsageError, match="a-z, 0-9 and -"):
        issue(authority.folder, name, [], NOW)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("n2.node.raftoral", "name a node"),
        ("N2.Node.Raftoral.", "name a node"),
        ("node.raftoral", "name a node"),
        ("*.node.raftoral", "name a node"),
        ("*", "without a port"),
        ("10.0.0.1:7400", "without a port"),
        ("a b", "without a port"),
        ("", "without a port"),
    ],
)
def test_hosts_that_no_certificate_carries(authority: Authority, host: str, says: str) -> None:
    """A host is an address or a name, and never one that would pass for a node."""
    with pytest.raises(UsageError, match=says):
        issue(authority.folder, "n1", [host], NOW)
    assert not (authority.folder / "n1").exists()


@pytest.mark.parametrize(
    ("names", "node"),
    [
        (["n1.node.raftoral", "localhost"], "n1"),
        (["n1.node.raftoral", "n1.node.raftoral"], "n1"),
        (["localhost"], None),
        ([], None),
        (["n1.node.raftoral", "n2.node.raftoral"], None),
        (["*.node.raftoral"], None),
        (["n1.n2.node.raftoral"], None),
        (["N1.node.raftoral"], None),
        ([".node.raftoral"], None),
        (["node.raftoral"], None),
        (["n1.node.raftoral", "N2.NODE.RAFTORAL"], None),
        (["n1.node.raftoral.example"], None),
    ],
)
def test_a_certificate_is_of_one_node_or_of_none(names: list[str], node: str | None) -> None:
    """Only a certificate with exactly one node's full name is that node's."""
    assert node_of(names) == node


def test_an_authority_that_cannot_issue(authority: Authority, tmp_path: Path) -> None:
    """Without a CA, with an expired one, or with a key that is not its own, nothing is issued."""
    with pytest.raises(UsageError, match="certs init"):
        issue(tmp_path / "nothing", "n1", [], NOW)
    with pytest.raises(UsageError, match="expired on"):
        issue(authority.folder, "n1", [], LONG_AGO + timedelta(days=3_700))
    other = Authority.create(tmp_path / "other")
    (authority.folder / "ca.key").write_bytes((other.folder / "ca.key").read_bytes())
    with pytest.raises(UsageError, match="do not belong together"):
        issue(authority.folder, "n1", [], NOW)
    (authority.folder / "ca.key").write_text("no key")
    with pytest.raises(UsageError, match="holds no private key"):
        issue(authority.folder, "n1", [], NOW)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Where nothing can be written, the message names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*ca\.key"):
        create_authority(tmp_path / "file" / "certs", "test", NOW)
    with pytest.raises(UsageError, match="1 to 64"):
        create_authority(tmp_path, "", NOW)


# ------------------------------------------------------------------ loading
def test_files_that_a_node_cannot_start_with(authority: Authority, tmp_path: Path) -> None:
    """Missing, expired, strange or mismatched files are each told before anything is listened on."""
    one, two = authority.files("n1"), authority.files("n2")
    with pytest.raises(UsageError, match=r"no file .*nothing/ca\.crt"):
        Tls(TlsFiles.of_folder(tmp_path / "nothing"), NOW)
    with pytest.raises(UsageError, match=r"expired on .* certs issue old --force"):
        Tls(authority.files("old", at=LONG_AGO), NOW)
    with pytest.raises(UsageError, match="exactly one node"):
        Tls(TlsFiles(one.ca, one.ca, one.key), NOW)
    with pytest.raises(UsageError, match="the key to it"):
        Tls(TlsFiles(one.ca, one.cert, two.key), NOW)
    with pytest.raises(UsageError, match="holds no certificate"):
        Tls(TlsFiles(one.key, one.cert, one.key), NOW)


def test_what_a_node_warns_of(authority: Authority) -> None:
    """A certificate in its last month and a key that others can read are told, and no more."""
    assert authority.tls("n1").warnings == []
    files = authority.files("n2")
    (authority.folder / "n2" / "node.key").chmod(0o640)
    expiring, readable = Tls(files, NOW + timedelta(days=340)).warnings
    assert "expires on" in expiring
    assert "chmod 600" in readable
