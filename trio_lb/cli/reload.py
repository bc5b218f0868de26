"""`trio-lb reload`: have a running load balancer read its profile again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.cli.common import DEFAULT_PROFILE, add_command
from trio_lb.cli.found import add_target, send, target

if TYPE_CHECKING:
    import argparse

    from trio_lb.cli.common import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "reload",
        "have a running load balancer read its profile again",
        "Have the load balancer that runs read its profile again; workers with the new one take "
        "over, which costs no request. It is found by its pid file. What is wrong with the "
        "profile is told here, and nothing is done then.",
        ("trio-lb reload", f"the one that runs {DEFAULT_PROFILE} of this directory"),
        ("trio-lb reload -p x.yaml", "the one that runs x.yaml"),
        ("trio-lb reload --pid-file /run/x.pid", "the one with this pid file"),
    )
    add_target(parser)
    parser.set_defaults(run=reload)


def reload(arguments: argparse.Namespace) -> int:
    """Send HUP."""
    import signal

    from trio_lb.supervise.pidfile import find_running

    path, _ = target(arguments)
    with find_running(path) as found:
        pid = send(signal.SIGHUP, found, path).pid
    print(f"trio-lb: process {pid} reads its profile again; its log says what comes of it")
    return 0
