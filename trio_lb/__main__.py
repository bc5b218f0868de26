"""`trio-lb`, also as `python -m trio_lb`."""

from __future__ import annotations

import sys

from trio_lb.cli import main

if __name__ == "__main__":
    sys.exit(main())
