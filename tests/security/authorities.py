"""Certificates for tests, good and bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from raftoral.security.certificates import create_authority, issue
from raftoral.security.tls import Tls, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=400)


@dataclass(frozen=True)
class Authority:
    """One CA in a folder of its own."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """Make it, as of long ago."""
        create_authority(folder, "test", LONG_AGO)
        return cls(folder)

    def files(self, name: str, hosts: Sequence[str] = (), at: datetime = NOW) -> TlsFiles:
        """Return the files of a node, issued now, or ``at`` another time."""
        return TlsFiles.of_folder(issue(self.folder, name, hosts, at, force=True))

    def tls(self, name: str, hosts: Sequence[str] = (), at: datetime = NOW) -> Tls:
        """Return the loaded certificates of a node; also of one whose have expired since."""
        return Tls(self.files(name, hosts, at), at)
