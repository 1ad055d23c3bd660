"""``python -m collapselab``."""

import sys

from collapselab.cli import main

if __name__ == "__main__":
    sys.exit(main())
