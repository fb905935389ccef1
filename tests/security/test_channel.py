"""TLS without sockets: who gets through to whom, and what the others are told."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import NotTrusted
from raftoral.security.tls import Channel, NotTls, Tls, refuse_tls
from tests.security.authorities import LONG_AGO, NOW, Authority

if TYPE_CHECKING:
    from pathlib import Path


class Certificates:
    """Two authorities, and nodes with certificates of each sort."""

    def __init__(self, folder: Path) -> None:
        ours, other = Authority.create(folder / "ours"), Authority.create(folder / "other")
        self.ca = ours.folder / "ca.crt"
        self.one = ours.tls("n1")
        self.two = ours.tls("n2", ["seed.example", "10.0.0.2"])
        self.foreign = other.tls("n2")
        self.expired = ours.tls("n3", at=LONG_AGO)
        self.early = ours.tls("n4", at=NOW + timedelta(days=2))

    def bare(self, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Channel:
        """Return a dialler that trusts the CA but has no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        context.maximum_version = newest
        return Channel(context, "n2.node.raftoral", "another")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once; nothing changes them."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def talk(dialler: Channel, listener: Channel) -> tuple[str, str]:
    """Carry bytes both ways until both are done; return what each end failed with."""
    failures = {dialler: "", listener: ""}
    for _ in range(5):
        for near, far in ((dialler, listener), (listener, dialler)):
            data = near.outgoing()
            if data and not failures[far]:
                try:
                    assert far.receive(data) == b""
                except NotTrusted as error:
                    failures[far] = str(error)
    return failures[dialler], failures[listener]


def test_two_nodes_learn_each_others_names(certificates: Certificates) -> None:
    """Each end knows the other's name once the handshake is over, and bytes arrive as sent."""
    dialler, listener = certificates.one.dial_node("n2"), certificates.two.answer()
    assert talk(dialler, listener) == ("", "")
    assert (dialler.peer, listener.peer) == ("n2", "n1")
    data = bytes(range(256)) * 1_000
    dialler.send(data)
    sealed = dialler.outgoing()
    assert data[:64] not in sealed
    assert listener.receive(sealed[:10]) == b""
    assert listener.receive(sealed[10:]) == data
    dialler.close()
    assert listener.receive(dialler.outgoing()) == b""
    listener.send(b"the other half is open")
    assert listener.outgoing()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "seed.example", "10.0.0.2"])
def test_a_host_is_reached_by_any_of_its_names(certificates: Certificates, host: str) -> None:
    """A joiner reaches a node by each host that its certificate names."""
    assert talk(certificates.one.dial_host(host), certificates.two.answer()) == ("", "")


NO_CERTIFICATE = "it shows no certificate; start it with --tls"
REFUSED_NAME = "that names another node or host"


@pytest.mark.parametrize(
    ("dialler", "listener", "told", "tells"),
    [
        ("one>n1", "two", "not that of 'n1'", REFUSED_NAME),
        ("one>n3", "expired", "expired; issue it a new one", "as expired; issue a new one"),
        ("expired>n2", "two", "as expired; issue a new one", "expired; issue it a new one"),
        ("early>n2", "two", "is not valid yet", "not valid yet; compare the clocks"),
        ("one>n2", "foreign", "is of another CA", "of another CA than its own"),
        ("foreign>n1", "one", "is of another CA", "of another CA than its own"),
        ("one@10.0.0.3", "two", "again with --host 10.0.0.3", REFUSED_NAME),
        ("one@elsewhere", "two", "again with --host elsewhere", REFUSED_NAME),
        ("one@n2.example", "two", "again with --host", REFUSED_NAME),
    ],
)
def test_who_is_not_trusted(
    certificates: Certificates, dialler: str, listener: str, told: str, tells: str
) -> None:
    """Another name, another CA, an expired or early certificate: both ends say what is wrong."""
    from_, _, node = dialler.partition(">")
    from_, _, host = from_.partition("@")
    near: Tls = getattr(certificates, from_)
    far: Tls = getattr(certificates, listener)
    near_end = near.dial_node(node) if node else near.dial_host(host)
    far_end = far.answer()
    failed, far_failed = talk(near_end, far_end)
    assert told in failed
    assert tells in far_failed
    assert not far_end.secured


def test_who_has_no_certificate_is_told_on_the_first_read(certificates: Certificates) -> None:
    """In TLS 1.3 a dialler without certificate believes it is through; its first read says no."""
    bare, listener = certificates.bare(), certificates.two.answer()
    failed, far_failed = talk(bare, listener)
    assert bare.secured
    assert not listener.secured
    assert "it wants a certificate from this node" in failed
    assert NO_CERTIFICATE in far_failed


def test_older_tls_is_refused(certificates: Certificates) -> None:
    """TLS 1.2 gets nowhere, and both ends say so."""
    bare, listener = certificates.bare(newest=ssl.TLSVersion.TLSv1_2), certificates.two.answer()
    assert talk(bare, listener) == ("it does not speak TLS 1.3", "it does not speak TLS 1.3")


@pytest.mark.parametrize("first", [b"\0\0\0\x20abcd", b"GET / HTTP/1.1\r\n\r\n", b"\x17\3\3\0\1x"])
def test_what_is_no_tls_is_known_by_its_first_byte(
    certificates: Certificates, first: bytes
) -> None:
    """A peer that begins with anything but a handshake is told apart at once, at both ends."""
    for channel in (certificates.two.answer(), certificates.one.dial_node("n2")):
        with pytest.raises(NotTls):
            channel.receive(first)
    refuse_tls(first)
    with pytest.raises(NotTls, match="the dialling node speaks TLS, the listening one does not"):
        refuse_tls(certificates.one.dial_node("n2").outgoing())


def test_damaged_records_end_the_connection(certificates: Certificates) -> None:
    """One flipped bit in a sealed record is an error with a sentence, and yields no bytes."""
    dialler, listener = certificates.one.dial_node("n2"), certificates.two.answer()
    talk(dialler, listener)
    dialler.send(b"x" * 100)
    sealed = bytearray(dialler.outgoing())
    sealed[50] ^= 1
    with pytest.raises(NotTrusted, match="TLS failed: "):
        listener.receive(bytes(sealed))
