"""The cluster's own certificate authority: made once, asked for one certificate a node.

Owns the files under one folder: ``ca.key`` and ``ca.crt``, and for each node a folder of its name
with everything that this node needs and nothing else (``node.key``, ``node.crt``, ``ca.crt``). Never
opens a socket. The rules it keeps: a key is readable by its owner alone from its first byte on, is
never printed, and no file is replaced unless that was asked for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftoral.errors import UsageError
from raftoral.security.names import checked_name, dns_name, is_reserved, node_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CA_LIFETIME: Final = timedelta(days=3_650)
NODE_LIFETIME: Final = timedelta(days=365)
BACKDATED: Final = timedelta(minutes=10)
"""Certificates are valid from a little before they are made, for clocks that are behind."""

ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
"""Hosts that every certificate names: two nodes of one machine find each other by them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a certificate says: its node (None if it names no single one) and its last moment."""

    node: str | None
    until: datetime


def create_authority(
    folder: Path, cluster: str, now: datetime, *, force: bool = False
) -> tuple[Path, Path]:
    """Make a key and a certificate that can issue others; return their paths.

    ``cluster`` is told in the certificate, for people. Raises `UsageError` if there is an authority
    already and ``force`` is not set: the nodes of the old one would not talk to those of the new.
    """
    if not 1 <= len(cluster) <= 64:
        raise UsageError(f"--cluster is a name of 1 to 64 characters, not {cluster!r:.80}")
    key_path, path = folder / "ca.key", folder / "ca.crt"
    _refuse_to_replace((key_path, path), force)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, "Raftoral certificate authority"),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _begun(name, name, key.public_key(), now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(issues=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(_authority(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _pem(key), 0o600)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return key_path, path


def issue(
    folder: Path, node: str, hosts: Sequence[str], now: datetime, *, force: bool = False
) -> Path:
    """Make a key and a certificate for the node called ``node``; return the folder they are in.

    ``hosts`` are the names and addresses that others join it by, next to those of `ALWAYS`. Raises
    `UsageError` for a name or host that cannot be, without an authority in ``folder``, and if
    the node has a certificate already and ``force`` is not set.
    """
    alternatives: list[x509.GeneralName] = [x509.DNSName(dns_name(checked_name(node)))]
    alternatives += [_host(each) for each in dict.fromkeys((*ALWAYS, *hosts))]
    own = folder / node
    key_path, path = own / "node.key", own / "node.crt"
    authority_key, authority = _load_authority(folder, now)
    _refuse_to_replace((key_path, path), force)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    until = min(now + NODE_LIFETIME, authority.not_valid_after_utc)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _begun(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)]),
            authority.subject,
            key.public_key(),
            now,
            until,
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(key_path, _pem(key), 0o600)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(own / "ca.crt", authority.public_bytes(serialization.Encoding.PEM), 0o644)
    return own


def inspect(path: str | Path) -> Seen:
    """Return what the (first) certificate of a file says; `UsageError` if there is none in it."""
    certificate = _load_certificate(Path(path))
    names: list[str] = []
    with suppress(x509.ExtensionNotFound):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = found.value.get_values_for_type(x509.DNSName)
    return Seen(node_of(names), certificate.not_valid_after_utc)


# ------------------------------------------------------------------ certificates
def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    now = now.astimezone(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _key_usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(identifier: x509.SubjectKeyIdentifier) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _host(host: str) -> x509.GeneralName:
    """Return a host as a certificate holds it; never one that would pass for a node."""
    try:
        return x509.IPAddress(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if is_reserved(host):
        raise UsageError(f"--host {host} would name a node; issue that node its own certificate")
    parts = host.split(".")
    if not host.isascii() or not all(
        part and part.replace("-", "").replace("_", "").isalnum() for part in parts
    ):
        raise UsageError(f"--host is a host name or an IP address, without a port, not {host!r}")
    return x509.DNSName(host)


# ------------------------------------------------------------------ files
def _load_authority(
    folder: Path, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    if not (folder / "ca.key").exists() or not (folder / "ca.crt").exists():
        raise UsageError(
            f"{folder} holds no certificate authority (ca.key and ca.crt); make one with "
            f"`raftoral certs init --dir {folder}`"
        )
    certificate = _load_certificate(folder / "ca.crt")
    try:
        key = serialization.load_pem_private_key(_read(folder / "ca.key"), None)
    except (ValueError, TypeError):
        raise UsageError(f"{folder / 'ca.key'} holds no private key without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{folder / 'ca.key'} is no elliptic curve key; make one by `certs init`")
    if key.public_key() != certificate.public_key():
        raise UsageError(f"ca.key and ca.crt in {folder} do not belong together")
    if certificate.not_valid_after_utc <= now:
        raise UsageError(
            f"the authority in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; "
            "make a new one in another folder, and issue every node a certificate from it"
        )
    return key, certificate


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise UsageError(f"{path} holds no certificate (PEM)") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _refuse_to_replace(paths: Sequence[Path], force: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} is there already; say --force to replace it for good")


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a file in its place in one step; nobody sees half of it, or it with another mode."""
    partial = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # A run that was cut off may have left it.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
