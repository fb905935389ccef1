"""`certs`: the certificates that nodes of different machines talk with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raftoral.cli.options import refuse, split

app = typer.Typer(no_args_is_help=True, help="Make the certificates for `raftoral start --tls`.")

Dir = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Folder of the certificate authority.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there, for good.")]


@app.command()
def init(
    folder: Dir = Path("certs"),
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="NAME", help="Told in the certificate.")
    ] = "raftoral",
    force: Force = False,
) -> None:
    """Make a certificate authority: the root of one cluster's trust.

    Who has its key can make members of the cluster; keep it off the nodes.
    """
    from datetime import UTC, datetime

    from raftoral.errors import UsageError
    from raftoral.security.certificates import create_authority

    try:
        key, certificate = create_authority(folder, cluster, datetime.now(UTC), force=force)
    except UsageError as error:
        refuse(str(error))
    print(f"certificate authority of {cluster}: {certificate}, key {key} (keep it off the nodes)")
    print(f"next, for each node: raftoral certs issue NAME --host HOST --dir {folder}")


@app.command()
def issue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the node is called.")],
    folder: Dir = Path("certs"),
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="HOST",
            help="A name or address that others --join it by (repeatable, or separated by commas).",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Make the key and certificate of one node, in a folder to be copied to it."""
    from datetime import UTC, datetime

    from raftoral.errors import UsageError
    from raftoral.security.certificates import inspect, issue

    try:
        own = issue(folder, name, split(host or ()), datetime.now(UTC), force=force)
        until = inspect(own / "node.crt").until
    except UsageError as error:
        refuse(str(error))
    print(f"node {name}: {own}, valid until {until:%Y-%m-%d}")
    print(f"next, on that node: raftoral start --tls {own}")
