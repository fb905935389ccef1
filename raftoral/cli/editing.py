"""`lsp`: the language server for editors."""

from __future__ import annotations

from raftoral.cli.options import fail


def lsp() -> None:
    """Answer an editor over standard input and output.

    Speaks the Language Server Protocol; editors start it. Needs pip install 'raftoral[lsp]'.
    """
    try:
        from raftoral.lsp.server import make
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("pygls", "lsprotocol"):
            raise
        fail("the language server needs pygls: pip install 'raftoral[lsp]'")
    from raftoral import __version__
    from raftoral.cli import cache

    cache.keep_tables()
    make(__version__).start_io()
