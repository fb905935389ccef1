"""How a certificate names a node: ``n1`` is the DNS name ``n1.node.raftoral``.

Owns that one mapping. The rule it keeps: a certificate names exactly one node, in full; a wildcard,
a second name or none at all is nobody. The suffix is a role, as in Nomad's ``server.<region>.nomad``:
it exists in no DNS, so no certificate for a host can pass for a node.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from raftoral.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIX: Final = ".node.raftoral"

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def checked_name(name: str) -> str:
    """Return ``name`` if a certificate can carry it; `UsageError` says what it may consist of."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"a node with a certificate is named by 1 to 63 of a-z, 0-9 and - (not at the ends), "
            f"not {name!r:.80}"
        )
    return name


def dns_name(name: str) -> str:
    """Return the DNS name that stands for the node called ``name``."""
    return name + SUFFIX


def is_reserved(host: str) -> bool:
    """Tell whether a host name would pass for a node's."""
    return f".{host.lower().rstrip('.')}".endswith(SUFFIX)


def node_of(dns_names: Iterable[str]) -> str | None:
    """Return the node that a certificate with these DNS names belongs to; None if to no single one."""
    found = {each for each in dns_names if is_reserved(each)}
    if len(found) != 1:
        return None
    name = found.pop().removesuffix(SUFFIX)
    return name if _NAME.fullmatch(name) else None
