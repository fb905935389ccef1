"""Hold the library against what others wrote: ``python -m tests.corpora [-v]``.

Each line is a corpus with how much of it came as its authors say; ``-v`` shows what did not. The
folder is named by RAFTORAL_CORPORA. The exit code is 1 if a case failed (of the lines of etcd's
interaction transcripts nine in ten are enough), 2 without a folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.corpora import confchange, interaction, linearizability, quorum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpora.tally import Tally


def tallies(root: Path) -> Iterator[Tally]:
    """Run every corpus in the folder."""
    yield quorum.check(root)
    yield confchange.check(root)
    yield from interaction.check(root)
    yield linearizability.check_porcupine(root)
    yield linearizability.check_knossos(root)


def main(arguments: list[str]) -> int:
    """Print one line for each corpus; return the exit code."""
    if "-h" in arguments or "--help" in arguments:
        print(__doc__, interaction.__doc__, linearizability.__doc__, sep="\n")
        return 0
    folder = os.environ.get("RAFTORAL_CORPORA", "")
    if not folder or not Path(folder).is_dir():
        print(
            f"no folder {folder!r}: set RAFTORAL_CORPORA to the folder that holds the test data of "
            "others (etcd-raft-neutral, etcd-raft-interaction, linearizability, ...)",
            file=sys.stderr,
        )
        return 2
    is_good = True
    for tally in tallies(Path(folder)):
        print(tally if tally.total else f"{tally.name} is not there", flush=True)
        is_good = is_good and tally.is_good
        if "-v" in arguments:
            print("\n".join(tally.failures))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
