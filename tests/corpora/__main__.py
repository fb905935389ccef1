"""Hold the library against what others wrote: ``python -m tests.corpora [-v]``.

Each line is a corpus with how many of its cases agree; ``-v`` shows those that do not. The exit
code is 1 if any does not, 2 without a folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.corpora import confchange, interaction, quorum


def main(arguments: list[str]) -> int:
    """Run every corpus in the folder that RAFTORAL_CORPORA names."""
    folder = os.environ.get("RAFTORAL_CORPORA", "")
    if not folder or not Path(folder).is_dir():
        print(
            f"no folder {folder!r}: set RAFTORAL_CORPORA to the folder that holds the test data of "
            "others (etcd-raft-neutral, etcd-raft-interaction, ...)",
            file=sys.stderr,
        )
        return 2
    failed = False
    for check in (quorum.check, confchange.check, *interaction.CHECKS):
        tally = check(Path(folder))
        if not tally.total:
            print(f"{tally.name} is not there")
            continue
        print(tally)
        failed = failed or bool(tally.failures)
        if "-v" in arguments:
            print("\n".join(tally.failures))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
