"""`trio-lb stop`: drain and stop a running load balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb.cli.common import DEFAULT_PROFILE, add_command, duration, print_error
from trio_lb.cli.found import add_target, find_target

if TYPE_CHECKING:
    import argparse

    from trio_lb.cli.common import Commands
    from trio_lb.supervise.pidfile import Running

_MARGIN: Final = 5.0
"""Seconds that stopping may take besides the drain timeout."""

_LOOK: Final = 0.05
"""Seconds between two looks at whether it has ended."""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "stop",
        "drain and stop a running load balancer",
        "Make the running load balancer finish what is in flight and stop, and wait for that. "
        "While it drains, a second stop ends it at once.",
        ("trio-lb stop", f"the one that runs {DEFAULT_PROFILE} of this directory"),
        ("trio-lb stop --wait 2m", "for up to two minutes"),
        ("trio-lb stop --pid-file /run/x.pid", "the one with this pid file"),
    )
    add_target(parser)
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=duration,
        help="how long to wait; 0: not at all (default: the profile's drain timeout "
        f"and {_MARGIN:g} s)",
    )
    parser.set_defaults(run=stop)


def stop(arguments: argparse.Namespace) -> int:
    """Send TERM, and wait for the end."""
    import signal

    from trio_lb.config import Timeouts

    with find_target(arguments, wrong_too=True) as target:
        wait = arguments.wait
        if wait is None:
            timeouts = Timeouts() if target.profile is None else target.profile.timeouts
            wait = timeouts.drain + _MARGIN
        target.send(signal.SIGTERM)
        if wait and not _ends(target.running, wait):
            return print_error(
                f"process {target.pid} has not stopped within {wait:g} s: "
                "it may still be draining; a second stop ends it at once"
            )
    print(f"trio-lb: process {target.pid} {'has stopped' if wait else 'is stopping'}")
    return 0


def _ends(running: Running, within: float) -> bool:
    import time

    deadline = time.monotonic() + within
    while not running.has_ended():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK)
    return True
