"""`trio-lb reload`: have a running load balancer read its profile again."""

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
"""Seconds between two looks at what has become of it."""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "reload",
        "have a running load balancer read its profile again",
        "Have the load balancer that runs read its profile again; workers with the new one take "
        "over, which costs no request. What is wrong with the profile is told here, and nothing "
        "is done then.",
        ("trio-lb reload", f"the one that runs {DEFAULT_PROFILE} of this directory"),
        ("trio-lb reload -p x.yaml --wait", "until x.yaml serves, or is refused"),
        ("trio-lb reload --pid-file /run/x.pid", "the one with this pid file"),
    )
    add_target(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="return when the new profile serves; with exit code 1 and the reasons if it was "
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
    """Send HUP, and wait for what comes of it if that is wished."""
    import signal

    with find_target(arguments) as target:
        if arguments.wait:
            return _reload_and_wait(target, arguments.timeout)
        target.send(signal.SIGHUP)
    print(
        f"trio-lb: process {target.pid} was signalled to read its profile again: its log says what "
        "comes of it, and reload --wait would wait for that"
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
            raise TrioLBError(f"process {target.pid} has ended before it was done")
        if time.monotonic() >= deadline:
            done = "is not done with it" if signalled else "did not say how it is"
            raise TrioLBError(f"process {target.pid} {done} within {timeout:g} s: see its log")
        time.sleep(_LOOK)
    for problem in status.problems:
        print(problem, file=sys.stderr)
    if status.problems:
        print(f"trio-lb: process {target.pid} has refused it: nothing was changed", file=sys.stderr)
        return FAILED
    print(f"trio-lb: process {target.pid} serves with the new profile")
    return 0
