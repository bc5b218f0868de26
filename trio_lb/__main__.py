"""`trio-lb`, also as `python -m trio_lb`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line; returns the exit code.

    Until a command says otherwise, Ctrl-C ends the process as it ends one that knows nothing of it:
    at once, and without a traceback from the middle of an import.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from trio_lb.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
