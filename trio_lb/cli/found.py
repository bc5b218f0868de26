"""What `reload` and `stop` share: finding the load balancer that runs, and signalling it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.cli.common import DEFAULT_PROFILE, UsageError, read_profile
from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    import argparse
    import signal

    from trio_lb.profile import Profile
    from trio_lb.supervise.pidfile import Running


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which load balancer is meant."""
    parser.add_argument(
        "-p",
        "--profile",
        "--path",
        metavar="FILE",
        help=f"the profile that it runs, for its pid_file (default: {DEFAULT_PROFILE})",
    )
    parser.add_argument(
        "--pid-file", metavar="FILE", help="its pid file, in place of the profile's"
    )


def target(arguments: argparse.Namespace) -> tuple[str, Profile | None]:
    """The pid file of the one that is meant, and its profile if that was read.

    Raises:
        UsageError: the profile has no pid file.
        ProfileError: the profile is wrong.
    """
    if arguments.pid_file and arguments.profile is None:
        return arguments.pid_file, None
    profile = read_profile(arguments.profile)
    path = arguments.pid_file or profile.pid_file
    if path is None:
        raise UsageError(
            f"{arguments.profile or DEFAULT_PROFILE} has no pid_file: "
            "say which one it is with --pid-file FILE"
        )
    return path, profile


def send(number: signal.Signals, found: Running | None, path: str) -> Running:
    """Signal the process that was found by its pid file.

    Raises:
        TrioLBError: there is none, or it belongs to another user.
    """
    nobody = TrioLBError(f"no load balancer is running with the pid file {path}")
    if found is None:
        raise nobody
    try:
        if not found.signal(number):
            raise nobody
    except PermissionError:
        raise TrioLBError(
            f"process {found.pid} belongs to another user, and is not ours to signal"
        ) from None
    return found
