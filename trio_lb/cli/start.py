"""`trio-lb start`: run a load balancer."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from trio_lb.cli.common import (
    DEFAULT_PROFILE,
    UsageError,
    add_command,
    add_log_level,
    add_profile,
    algorithm,
    file_name,
    listen_address,
    profile_name,
    read_profile,
    workers,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from trio_lb.cli.common import Commands
    from trio_lb.config import Problem, Profile
    from trio_lb.config.reading import Review


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "start",
        "run a load balancer",
        "Run a load balancer until it is interrupted (Ctrl-C) or terminated; requests in "
        "flight are finished first. HUP makes it read its profile again (see reload). Options "
        "override the profile, after a reload as well.",
        ("trio-lb start", f"with {DEFAULT_PROFILE} in this directory"),
        ("trio-lb start x.yaml --report", "with a live report"),
        ("trio-lb start -w 4 -rr", "with four workers, and a live report of each"),
        ("trio-lb start -a lc -u 'http://*:8080'", "another algorithm, another address"),
    )
    add_profile(parser)
    parser.add_argument(
        "-u",
        "--address",
        metavar="URL",
        action="append",
        type=listen_address,
        help="where to listen, as in http://127.0.0.1:8000; can be repeated",
    )
    parser.add_argument(
        "-a",
        "--algorithm",
        metavar="NAME",
        type=algorithm,
        help=(
            "load balancing algorithm: round_robin (rr), least_connections (lc), "
            "least_response_time (lrt), or weighted_... (wrr, wlc, wlrt)"
        ),
    )
    parser.add_argument(
        "-w",
        "--workers",
        metavar="N",
        type=workers,
        help="number of worker processes; auto: one for each available CPU",
    )
    parser.add_argument(
        "-r",
        "--report",
        action="count",
        default=0,
        help="show a live report of servers and traffic; -rr: of each worker as well",
    )
    parser.add_argument(
        "-s",
        "--save",
        metavar="FILE",
        type=file_name,
        help="append reports to a file; as JSON lines if its name ends in .jsonl",
    )
    add_log_level(parser)
    parser.set_defaults(run=start)


def start(arguments: argparse.Namespace) -> int:
    """Run the load balancer of a profile."""
    from trio_lb import logs
    from trio_lb.cli.usable import for_reload, for_start, why_not_saved
    from trio_lb.config import override

    name = profile_name(arguments)
    if name == "-":
        raise UsageError(
            "start cannot take a profile from standard input: a reload reads the file again"
        )
    warnings: list[Problem] = []

    def load(review: Review = for_reload) -> Profile:
        again = review is for_reload
        warnings.clear()
        profile = override(
            read_profile(name, again=again, review=review, warn=warnings.append),
            listen=arguments.address,
            algorithm=arguments.algorithm,
            workers=arguments.workers,
        )
        if again:
            log_warnings(warnings)
        return profile

    profile = load(for_start)
    if arguments.save and (reason := why_not_saved(arguments.save, profile)):
        raise UsageError(f"--save: {arguments.save} can't be written: {reason}")
    logs.configure(profile.log_level, arguments.log_level)
    log_warnings(warnings)
    from trio_lb.cli.run import run

    file = name or DEFAULT_PROFILE
    return run(
        profile,
        load,
        file=file if os.path.isfile(file) else None,
        report=arguments.report,
        save=arguments.save,
        log_levels=arguments.log_level,
    )


def log_warnings(warnings: Iterable[Problem]) -> None:
    """Log the warnings about a profile."""
    for problem in warnings:
        logging.getLogger("trio_lb").warning("%s", problem)
