"""How an address is written, and whether only this machine reaches it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from raftoral.errors import UsageError


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` (``[::1]:7400`` for IPv6); `UsageError` if it is none."""
    host, colon, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65_536
    if colon and host and is_port:
        return host.removeprefix("[").removesuffix("]"), int(port)
    raise UsageError(f"{address!r:.300} is no address; write host:port, such as 127.0.0.1:7400")


def ip_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that ``host`` is, with or without brackets; None if it is a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is ``localhost`` or a loopback address, with or without brackets."""
    if host.lower().rstrip(".") == "localhost":
        return True
    address = ip_of(host)
    return address is not None and address.is_loopback
