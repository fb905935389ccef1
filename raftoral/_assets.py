"""Finds the folders `grammar` and `workflows`, in a checkout or in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def asset(folder: str) -> Path:
    """Return the folder of that name.

    An installed wheel carries its own copy inside the package; in a checkout the folder lies at
    the top, beside the package.
    """
    here = Path(__file__).parent
    packaged = here / "_assets" / folder
    return packaged if packaged.is_dir() else here.parent / folder
