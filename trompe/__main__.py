"""`python -m trompe` is `trompe`."""

import sys

from trompe.cli import main

if __name__ == "__main__":
    sys.exit(main())
