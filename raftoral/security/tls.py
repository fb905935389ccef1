"""TLS 1.3 between peers, without sockets: certificates of both ends, checked by both.

Owns the settings of TLS and what its failures mean in words. `Channel` takes what the wire
delivered and gives what was sealed in it, and the other way round; whoever holds the socket moves
the bytes. The rules it keeps: TLS 1.3 only; each end shows a certificate of the cluster's CA that
names one node; a dialler gets the node, or the host, that it dialled or nothing.

asyncio's own TLS is not used, because its server swallows why a handshake failed, counts a
connection only after it, and cannot answer a peer that speaks no TLS.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import NotTrusted, UsageError
from raftoral.security.names import dns_name, node_of

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD_BYTES: Final = 16 * 1024
EXPIRES_SOON: Final = timedelta(days=30)
_HANDSHAKE, _ALERT = 0x16, 0x15


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a node's certificates are: the CA's certificate, its own, and its own key."""

    ca: str
    cert: str
    key: str

    @classmethod
    def of_folder(cls, folder: str | Path) -> TlsFiles:
        """Return the files of a folder that `raftoral certs issue` made."""
        path = Path(folder)
        return cls(str(path / "ca.crt"), str(path / "node.crt"), str(path / "node.key"))


class Tls:
    """The certificates of one node, loaded; makes a `Channel` for each connection."""

    def __init__(self, files: TlsFiles, now: datetime) -> None:
        """Raises `UsageError` if a file is missing, expired at ``now``, or fits no other."""
        for path in (files.ca, files.cert, files.key):
            if not Path(path).is_file():
                raise UsageError(
                    f"there is no file {path}; make certificates with `raftoral certs init` and "
                    "`raftoral certs issue NAME`, then say --tls DIR/NAME"
                )
        # Late, because only a node with certificates pays for the import.
        from raftoral.security.certificates import inspect

        seen, authority = inspect(files.cert), inspect(files.ca)
        if seen.node is None:
            raise UsageError(
                f"{files.cert} does not name exactly one node (such as {dns_name('n1')}); use one "
                "from `raftoral certs issue NAME`"
            )
        for path, until in ((files.cert, seen.until), (files.ca, authority.until)):
            if until <= now:
                raise UsageError(
                    f"{path} expired on {until:%Y-%m-%d}; issue a new certificate with "
                    f"`raftoral certs issue {seen.node} --force`"
                )
        self.name: Final = seen.node
        self.warnings: Final = _warnings(files, min(seen.until, authority.until), now)
        self._server = _context(ssl.PROTOCOL_TLS_SERVER, files)
        self._server.num_tickets = 0  # Nothing is resumed: each connection proves itself.
        self._client = _context(ssl.PROTOCOL_TLS_CLIENT, files)

    def answer(self) -> Channel:
        """Return the listening end of a connection."""
        return Channel(self._server, None, "")

    def dial_node(self, name: str) -> Channel:
        """Return the dialling end of a connection that must lead to the node called ``name``."""
        return Channel(
            self._client, dns_name(name), f"the certificate there is not that of {name!r}"
        )

    def dial_host(self, host: str) -> Channel:
        """Return the dialling end of a connection to any node whose certificate names ``host``."""
        return Channel(
            self._client,
            host,
            f"the certificate there does not name {host}; issue it again with --host {host}",
        )


class Channel:
    """One end of one connection: sealed bytes in, plain bytes out, and back.

    ``secured`` is set once the other end has shown whose certificate it has; ``peer`` is then the
    name of its node. What `receive` and `send` make for the wire is fetched with `outgoing`.
    """

    def __init__(self, context: ssl.SSLContext, wanted: str | None, other: str) -> None:
        """``wanted`` is whom a dialler must reach, None at the listening end; else ``other``."""
        self.secured = False
        self.peer = ""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=wanted is None, server_hostname=wanted
        )
        self._other = other
        self._began = False
        if wanted is not None:
            self._guarded(self._tls.do_handshake)

    def receive(self, data: bytes) -> bytes:
        """Return what became readable; `NotTrusted` with the reason ends the connection.

        Fetch `outgoing` in either case: an alert in it tells the other end why.
        """
        if data and not self._began:
            self._began = True
            if data[0] not in (_HANDSHAKE, _ALERT):
                raise (
                    NotTls(with_tls="listening", without="dialling")
                    if self._tls.server_side
                    else NotTls(with_tls="dialling", without="listening")
                )
        self._incoming.write(data)
        pieces: list[bytes] = []
        self._guarded(lambda: self._read(pieces))
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Seal ``data``; only once `secured`."""
        self._guarded(lambda: self._tls.write(data))

    def outgoing(self) -> bytes:
        """Return what the wire should carry now."""
        return self._outgoing.read()

    def close(self) -> None:
        """Say goodbye, as far as the handshake came."""
        if self.secured:
            # It wants the other end's goodbye, which nobody waits for.
            with suppress(ssl.SSLError):
                self._tls.unwrap()

    def _read(self, pieces: list[bytes]) -> None:
        if not self.secured:
            self._tls.do_handshake()
            self._take_certificate()
        while piece := self._tls.read(RECORD_BYTES):
            pieces.append(piece)

    def _take_certificate(self) -> None:
        shown: dict[str, Any] = dict(self._tls.getpeercert() or {})
        names = shown.get("subjectAltName", ())
        node = node_of(value for kind, value in names if kind == "DNS")
        if node is None:
            raise NotTrusted(
                "its certificate does not name exactly one node; use one from `raftoral certs issue`"
            )
        self.peer, self.secured = node, True

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise NotTrusted(_words(error, self._other)) from None


class NotTls(NotTrusted):
    """The other end speaks something else than TLS."""

    def __init__(self, *, with_tls: str, without: str) -> None:
        # The same words at both ends, so none that would be another node at the other end.
        super().__init__(
            f"the {with_tls} node speaks TLS, the {without} one does not; start both with --tls, or "
            "both without"
        )


LISTENER_SPEAKS_TLS: Final = str(NotTls(with_tls="listening", without="dialling"))
"""What a node without TLS is told in the clear by one that has it."""


def refuse_tls(first: bytes) -> None:
    """Raise `NotTls` if a connection to a node without TLS begins with these bytes of TLS."""
    if first[:1] == bytes((_HANDSHAKE,)):  # No frame is so long that it begins with this.
        raise NotTls(with_tls="dialling", without="listening")


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(files.ca)
        # A key with a password is refused instead of asking for it on the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError):
        raise UsageError(
            f"{files.cert} and {files.key} cannot be used: "
            "the one holds a certificate, the other the key to it, without a password"
        ) from None
    return context


def _warnings(files: TlsFiles, until: datetime, now: datetime) -> list[str]:
    found = []
    if until - now < EXPIRES_SOON:
        found.append(
            f"the certificate {files.cert} expires on {until.astimezone(UTC):%Y-%m-%d}; issue a new "
            "one and start this node again before that"
        )
    if Path(files.key).stat().st_mode & 0o077:
        found.append(f"others can read the key {files.key}; say `chmod 600` to it")
    return found


# ------------------------------------------------------------------ what went wrong, in words
_EXPIRED: Final = (
    "its certificate has expired; issue it a new one with `raftoral certs issue NAME --force`"
)
_OTHER_CA: Final = "its certificate is of another CA; the nodes of a cluster get theirs from one `raftoral certs init`"
_VERIFY_WORDS: Final = {
    7: _OTHER_CA,  # the same name, another key
    9: "its certificate is not valid yet; compare the clocks of the machines",
    10: _EXPIRED,
    18: _OTHER_CA,
    19: _OTHER_CA,
    20: _OTHER_CA,
    21: _OTHER_CA,
}
_OTHER_NAME: Final = frozenset({62, 64})  # another host name, another IP address
_ALERT_WORDS: Final = {
    "CERTIFICATE_REQUIRED": "it wants a certificate from this node, which showed none",
    "UNKNOWN_CA": "it refuses this node's certificate, which is of another CA than its own",
    "CERTIFICATE_EXPIRED": (
        "it refuses this node's certificate as expired; issue a new one with `raftoral certs issue "
        "NAME --force`"
    ),
    "BAD_CERTIFICATE": (
        "it refuses this node's certificate: that names another node or host, or is not valid yet; "
        "its log says which"
    ),
    "PROTOCOL_VERSION": "it does not speak TLS 1.3",
}
_REASON_WORDS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "it shows no certificate; start it with --tls and one from `raftoral certs issue`"
    ),
    "UNSUPPORTED_PROTOCOL": "it does not speak TLS 1.3",
}


def _words(error: ssl.SSLError, other: str) -> str:
    """Return what a failure means and what to do; ``other`` is for a certificate of another."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return other
        known = _VERIFY_WORDS.get(error.verify_code)
        return known or f"its certificate is refused: {error.verify_message}"
    reason = error.reason or "the records are damaged"
    _, _, alert = reason.rpartition("ALERT_")
    known = _ALERT_WORDS.get(alert) or _REASON_WORDS.get(reason)
    return known or f"TLS failed: {reason.replace('_', ' ').lower()}"
