"""`python -m raftoral` is the command line."""

import sys

from raftoral.cli import main

if __name__ == "__main__":
    sys.exit(main())
