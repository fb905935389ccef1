"""Finds the folders `grammar` and `workflows`, in a checkout or in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def asset(folder: str) -> Path:
    """Return the folder of that name; in a checkout the one beside the package wins nothing:

    an installed wheel carries its own copy, a checkout has only the one at its top.
    """
    here = Path(__file__).parent
    packaged = here / "_assets" / folder
    return packaged if packaged.is_dir() else here.parent / folder
