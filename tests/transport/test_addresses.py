from __future__ import annotations

import pytest

from raftoral.errors import UsageError
from raftoral.transport.addresses import is_loopback, split_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:7400", "127.0.0.1", 7400),
        ("n1.example:0", "n1.example", 0),
        ("[::1]:65535", "::1", 65_535),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, host: str, port: int) -> None:
    """The port is what stands behind the last colon; brackets of IPv6 are no part of the host."""
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address", ["", "n1", ":7400", "n1:", "n1:x", "n1:-1", "n1:65536", "n1:٣", "n1:" + "9" * 5_000]
)
def test_anything_else_is_refused(address: str) -> None:
    """What is no address is a user's mistake, told with an example, however long it is."""
    with pytest.raises(UsageError, match=r"write host:port, such as 127\.0\.0\.1:7400"):
        split_address(address)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
        ("LocalHost.", True), ("10.0.0.1", False), ("0.0.0.0", False), ("localhost.evil", False),
    ],
)  # fmt: skip
def test_loopback_is_what_no_other_machine_reaches(host: str, answer: bool) -> None:
    """Only loopback addresses and the one name for them count, written in any way."""
    assert is_loopback(host) is answer
