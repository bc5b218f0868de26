"""`trio-lb check`: check a profile, and print it with all its defaults."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from trio_lb.cli.common import (
    DEFAULT_PROFILE,
    add_command,
    add_profile,
    profile_name,
    read_profile,
    read_standard_input,
)

if TYPE_CHECKING:
    import argparse

    from trio_lb.cli.common import Commands
    from trio_lb.config import Problem


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "check",
        "check a profile and print it with all its values",
        "Check a profile without running it, and print it with every default spelled out. "
        "Problems are printed with file, line and column; the exit code is 2 then.",
        ("trio-lb check", f"{DEFAULT_PROFILE} in this directory"),
        ("trio-lb check -q x.yaml", "print problems only"),
        ("trio-lb check - < x.yaml", "from standard input"),
        ("trio-lb check --schema > schema.json", "for editors, which can complete with it"),
    )
    add_profile(parser, 'the profile, or "-" for standard input')
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print the profile")
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of profiles instead"
    )
    parser.set_defaults(run=check)


def check(arguments: argparse.Namespace) -> int:
    """Check a profile, or print the schema."""
    from trio_lb.cli.usable import for_check
    from trio_lb.config import dump_profile, json_schema

    if arguments.schema:
        import json

        print(json.dumps(json_schema(), indent=2))
        return 0
    name = profile_name(arguments)
    read = read_standard_input if name == "-" else partial(read_profile, name)
    profile = read(review=for_check, warn=_warn)
    if not arguments.quiet:
        print(dump_profile(profile, as_written=True), end="")
    return 0


def _warn(problem: Problem) -> None:
    key = f"{problem.key}: " if problem.key else ""
    print(f"{problem.location}: warning: {key}{problem.message}", file=sys.stderr)
