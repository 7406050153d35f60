"""`python -m trio_upgrade`."""

import sys

from .program._command import main

if __name__ == "__main__":
    sys.exit(main())
