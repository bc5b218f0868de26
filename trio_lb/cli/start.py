"""`trio-lb start`: run a load balancer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trio_lb.cli.common import (
    DEFAULT_PROFILE,
    add_command,
    add_log_level,
    algorithm,
    listen_address,
    read_profile,
    workers,
)

if TYPE_CHECKING:
    import argparse

    from trio_lb.cli.common import Commands
    from trio_lb.profile import Profile


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "start",
        "run a load balancer",
        "Run a load balancer until it is interrupted (Ctrl-C) or terminated; requests in "
        "flight are finished first. HUP has it read its profile again (see reload). What is "
        "given here goes over the profile, also then.",
        ("trio-lb start", f"with {DEFAULT_PROFILE} in this directory"),
        ("trio-lb start -p x.yaml --report", "show what it does"),
        ("trio-lb start -w 4 -rr", "with four workers, and show each of them"),
        ("trio-lb start -a lc -u http://*:8080", "another algorithm, another address"),
    )
    parser.add_argument(
        "-p",
        "--profile",
        "--path",
        metavar="FILE",
        help=f"the profile (default: {DEFAULT_PROFILE})",
    )
    parser.add_argument(
        "-u",
        "--address",
        metavar="URL",
        action="append",
        type=listen_address,
        help="where to listen, as in http://127.0.0.1:8000; may be given several times",
    )
    parser.add_argument(
        "-a",
        "--algorithm",
        metavar="NAME",
        type=algorithm,
        help=(
            "how servers are chosen: round_robin (rr), least_connections (lc), "
            "least_response_time (lrt), or weighted_... (wrr, wlc, wlrt)"
        ),
    )
    parser.add_argument(
        "-w",
        "--workers",
        metavar="N",
        type=workers,
        help="worker processes; auto: one for each CPU that may be used",
    )
    parser.add_argument(
        "-r",
        "--report",
        action="count",
        default=0,
        help="show servers and traffic while it runs; -rr: each worker as well",
    )
    parser.add_argument(
        "-s",
        "--save",
        metavar="FILE",
        help="append the reports to a file; as JSON lines if its name ends in .jsonl",
    )
    add_log_level(parser)
    parser.set_defaults(run=start)


def start(arguments: argparse.Namespace) -> int:
    """Run the load balancer of a profile."""
    from trio_lb import logs
    from trio_lb.profile import override

    def load(*, again: bool = True) -> Profile:
        return override(
            read_profile(arguments.profile, again=again),
            listen=arguments.address,
            algorithm=arguments.algorithm,
            workers=arguments.workers,
        )

    profile = load(again=False)
    logs.configure(profile.log_level, arguments.log_level)
    from trio_lb.cli.run import run

    file = arguments.profile or DEFAULT_PROFILE
    return run(
        profile,
        load,
        file=file if os.path.isfile(file) else None,
        report=arguments.report,
        save=arguments.save,
        log_levels=arguments.log_level,
    )
