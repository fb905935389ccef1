"""`make conformance`: every requirement of a folder, and what came of it, in Python or in `.rwf`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance.cases import CASES, NOT_EXPRESSIBLE
from tests.conformance.programs import PROGRAMS, UNWRITTEN
from tests.conformance.requirements import folder, read
from tests.conformance.runner import verdict


def main() -> int:
    """Print a line for each requirement that is not met, and the count; 1 if one fails."""
    parser = argparse.ArgumentParser(prog="make conformance")
    parser.add_argument("corpora", type=Path, help="a folder with */test-requirements/*/*.yaml")
    parser.add_argument("--lang", choices=("python", "rwf"), default="python")
    given = parser.parse_args()
    cases, reasons = (PROGRAMS, UNWRITTEN) if given.lang == "rwf" else (CASES, NOT_EXPRESSIBLE)
    paths = folder(given.corpora)
    if not paths:
        print(f"no requirements under {given.corpora}", file=sys.stderr)
        return 2
    passed, failed = 0, 0
    unable: list[str] = []
    for path in paths:
        one = read(path)
        if one.id in reasons:
            unable.append(f"  {one.id:<6} not expressible: {reasons[one.id]}")
            continue
        why = verdict(one, cases[one.id]) if one.id in cases else "there is no workflow for it"
        passed, failed = passed + (not why), failed + bool(why)
        if why:
            print(f"  {one.id:<6} FAILED: {why}")
    print("\n".join(unable))
    print(f"durable-execution {passed}/{len(paths)} pass, {len(unable)} not expressible")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
