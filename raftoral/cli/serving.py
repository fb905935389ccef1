"""`start` and `dev`: one node in this process, until a signal ends it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from raftoral.cli.options import host_port, refuse, split

if TYPE_CHECKING:
    from raftoral.security.tls import TlsFiles

Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where peers reach this node.")
]
Http = Annotated[
    str, typer.Option("--http", metavar="HOST:PORT", help="Where the HTTP API listens.")
]
Advertise = Annotated[
    str | None,
    typer.Option(
        "--advertise", metavar="HOST:PORT", help="What peers call this node, if not --listen."
    ),
]
Join = Annotated[
    list[str] | None,
    typer.Option(
        "--join",
        metavar="HOST:PORT",
        help="A node of the cluster to join (repeatable, or separated by commas). Not needed "
        "again once the data folder belongs to the cluster.",
    ),
]
Groups = Annotated[
    int | None,
    typer.Option("--groups", min=1, help="Execution groups of a new cluster, fixed then (1)."),
]
RemoveLost = Annotated[
    float | None,
    typer.Option(
        "--remove-lost-after",
        metavar="SECONDS",
        help="Remove a node that was not heard for so long, if others can take all its places; "
        "say the same on every node.",
    ),
]
Name = Annotated[str | None, typer.Option("--name", help="A name for people.")]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="FILE.py:NAME",
        help="The registry of workflows and activities; or MODULE:NAME.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow plain connections beyond this machine.")
]
Tls = Annotated[
    Path | None,
    typer.Option(
        "--tls",
        metavar="DIR",
        help="Talk to peers by TLS; the folder is from `raftoral certs issue`.",
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="The CA's certificate, if not from --tls."),
]
Cert = Annotated[
    Path | None,
    typer.Option("--cert", metavar="FILE", help="This node's certificate, if not from --tls."),
]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The key to it.")]


class Settings(NamedTuple):
    """What the command line says about one node."""

    listen: str
    http: str
    advertise: str | None
    data: Path | None
    join: list[str]
    groups: int | None
    name: str | None
    app: str | None
    insecure: bool
    tls: TlsFiles | None = None
    remove_lost_after: float | None = None


def start(
    listen: Listen = "127.0.0.1:7400",
    http: Http = "127.0.0.1:7480",
    advertise: Advertise = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of this node; without one it is kept in memory."),
    ] = None,
    join: Join = None,
    groups: Groups = None,
    name: Name = None,
    app: App = None,
    insecure: Insecure = False,
    tls: Tls = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    remove_lost_after: RemoveLost = None,
) -> None:
    """Start a node of a cluster.

    The first node of a cluster takes no --join. A node that comes back takes only --data (and --tls).
    """
    seeds = split(join or ())
    files = _tls_files(tls, ca, cert, key)
    _run(
        Settings(
            listen,
            http,
            advertise,
            data,
            seeds,
            groups,
            name,
            app,
            insecure,
            files,
            remove_lost_after,
        )
    )


def dev(
    listen: Listen = "127.0.0.1:7400",
    http: Http = "127.0.0.1:7480",
    advertise: Advertise = None,
    data: Annotated[Path, typer.Option("--data", help="Folder of this node.")] = Path(".raftoral"),
    join: Join = None,
    groups: Groups = None,
    name: Name = None,
    app: App = None,
    insecure: Insecure = False,
) -> None:
    """Start one node, with its data in ./.raftoral."""
    _run(Settings(listen, http, advertise, data, split(join or ()), groups, name, app, insecure))


def _tls_files(
    folder: Path | None, ca: Path | None, cert: Path | None, key: Path | None
) -> TlsFiles | None:
    """Return where the certificates are; None for a node without any."""
    if folder is None and ca is None and cert is None and key is None:
        return None
    from raftoral.security.tls import TlsFiles

    if folder is not None:
        if ca or cert or key:
            refuse("say either --tls DIR, or --ca, --cert and --key")
        return TlsFiles.of_folder(folder)
    if ca is None or cert is None or key is None:
        refuse("--ca, --cert and --key go together")
    return TlsFiles(str(ca), str(cert), str(key))


def _run(settings: Settings) -> None:
    """Run a node until a signal; exits with 2 for settings that cannot work."""
    if sys.flags.optimize:
        refuse("a node does not run under `python -O`: its checks are assertions")
    host_port(settings.listen, "--listen")
    host_port(settings.http, "--http")
    from raftoral.cli import logs
    from raftoral.cli.process import run_until_signal
    from raftoral.errors import UsageError

    logs.set_up("info")
    try:
        run_until_signal(settings)
    except UsageError as error:
        refuse(str(error))
