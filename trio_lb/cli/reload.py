"""`trio-lb reload`: make a running load balancer read its profile again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from trio_lb.cli.common import DEFAULT_PROFILE, FAILED, add_command, duration
from trio_lb.cli.found import add_target, find_target
from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    import argparse

    from trio_lb.cli.common import Commands
    from trio_lb.cli.found import Target

_LOOK: Final = 0.05
"""Seconds between two looks at the status of the reload."""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "reload",
        "make a running load balancer read its profile again",
        "Make the running load balancer read its profile again. Workers take other servers as they "
        "run; for other changes, new ones take over. No request is lost. A profile that is wrong "
        "is reported here, and nothing is changed.",
        ("trio-lb reload", f"the one that runs {DEFAULT_PROFILE} of this directory"),
        ("trio-lb reload -p x.yaml --wait", "until x.yaml serves, or is refused"),
        ("trio-lb reload --pid-file /run/x.pid", "the one with this pid file"),
    )
    add_target(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="return when the new profile is in effect, with exit code 1 and the reasons if it was "
        "refused",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=duration,
        default=300.0,
        help="how long --wait waits at most (default: 5m)",
    )
    parser.set_defaults(run=reload)


def reload(arguments: argparse.Namespace) -> int:
    """Send HUP, and wait for the result if asked to."""
    import signal

    with find_target(arguments) as target:
        if arguments.wait:
            return _reload_and_wait(target, arguments.timeout)
        target.send(signal.SIGHUP)
    print(
        f"trio-lb: told process {target.pid} to reload: see its log for the result, or use "
        "reload --wait"
    )
    return 0


def _reload_and_wait(target: Target, timeout: float) -> int:
    import signal
    import time

    from trio_lb.supervise.reload_status import read_status

    deadline = time.monotonic() + timeout
    before = None
    signalled = False
    while True:
        status = read_status(target.pid_file)
        if status is not None and status.pid == target.pid:
            if before is None:
                before = status.begun
                target.send(signal.SIGHUP)
                signalled = True
            elif status.ended > before:
                break
        if target.running.has_ended():
            raise TrioLBError(f"process {target.pid} ended before the reload was complete")
        if time.monotonic() >= deadline:
            done = "has not completed the reload" if signalled else "did not report its status"
            raise TrioLBError(f"process {target.pid} {done} within {timeout:g} s: see its log")
        time.sleep(_LOOK)
    for problem in status.problems:
        print(problem, file=sys.stderr)
    if status.problems:
        refused = f"process {target.pid} refused the new profile: nothing was changed"
        print(f"trio-lb: {refused}", file=sys.stderr)
        return FAILED
    print(f"trio-lb: process {target.pid} is serving the new profile")
    return 0
