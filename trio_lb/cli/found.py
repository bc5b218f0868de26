"""What `reload` and `stop` share: finding the load balancer that runs, and signalling it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trio_lb.cli.common import DEFAULT_PROFILE, add_profile, file_name, profile_name, read_profile
from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    import argparse
    import signal
    from collections.abc import Iterator

    from trio_lb.config import Profile
    from trio_lb.supervise.pidfile import Running


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which load balancer is meant."""
    add_profile(parser, "the profile that it runs")
    parser.add_argument(
        "--pid-file",
        metavar="FILE",
        type=file_name,
        help="its pid file, if the profile does not tell which one",
    )


@dataclass(frozen=True)
class Target:
    """The load balancer that is meant, which runs.

    Attributes:
        running: its process.
        pid_file: by which it was found.
        profile: what it is said to run; None if that was not read, or is wrong.
    """

    running: Running
    pid_file: str
    profile: Profile | None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.running.pid

    def send(self, number: signal.Signals) -> None:
        """Signal it.

        Raises:
            TrioLBError: it has just ended, or belongs to another user.
        """
        try:
            if not self.running.signal(number):
                raise TrioLBError(f"process {self.pid} has ended")
        except PermissionError:
            raise TrioLBError(
                f"process {self.pid} belongs to another user: permission denied"
            ) from None


@contextmanager
def find_target(arguments: argparse.Namespace, *, wrong_too: bool = False) -> Iterator[Target]:
    """Look for the load balancer that is meant.

    Args:
        arguments: with the options of `add_target`.
        wrong_too: a profile that is wrong is no hindrance, if one that runs is found by its name.

    Raises:
        TrioLBError: none is running.
        UsageError: there is no profile.
        ProfileError: the profile is wrong.
    """
    from trio_lb.supervise.pidfile import find_running

    paths, profile, nobody = _where(arguments, wrong_too)
    for path in paths:
        shown = profile.shown("pid_file") if profile and path == profile.pid_file else None
        with find_running(path, shown) as running:
            if running is not None:
                yield Target(running, path, profile)
                return
    raise nobody


def _where(
    arguments: argparse.Namespace, wrong_too: bool
) -> tuple[list[str], Profile | None, TrioLBError]:
    """Pid files to look for, the profile, and the error if nobody has any of these."""
    from trio_lb.config import ProfileError
    from trio_lb.supervise.runtime_dir import possible_pid_files

    path: str | None = arguments.pid_file
    given = profile_name(arguments)
    if path and given is None:
        return [path], None, _nobody("pid file", path)
    name = given or DEFAULT_PROFILE
    try:
        profile = read_profile(given, again=True)  # as the one that runs will read it
    except ProfileError as error:
        if not wrong_too:
            raise
        return [path] if path else possible_pid_files(name), None, error
    if path:
        return [path], profile, _nobody("pid file", path)
    paths = possible_pid_files(name)
    if profile.pid_file is not None:  # it may have come into the profile since the start
        return [profile.pid_file, *paths], profile, _nobody("pid file", profile.shown("pid_file"))
    return paths, profile, _nobody("profile", name)


def _nobody(what: str, name: str) -> TrioLBError:
    return TrioLBError(f"no load balancer is running with the {what} {name}")
