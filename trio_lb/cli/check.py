"""`trio-lb check`: is a profile right, and what does it say with all its defaults?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.cli.common import DEFAULT_PROFILE, UsageError, add_command, read_profile

if TYPE_CHECKING:
    import argparse

    from trio_lb.cli.common import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "check",
        "check a profile and print it with all its values",
        "Check a profile without running it, and print it with every default spelled out. "
        "What is wrong is told with file, line and column; the exit code is 2 then.",
        ("trio-lb check", f"{DEFAULT_PROFILE} in this directory"),
        ("trio-lb check -q x.yaml", "only say what is wrong"),
        ("trio-lb check --schema > schema.json", "for editors, which can complete with it"),
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help=f"the profile (default: {DEFAULT_PROFILE})"
    )
    parser.add_argument(
        "-p", "--profile", "--path", metavar="FILE", help="another way to give the profile"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print the profile")
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of profiles instead"
    )
    parser.set_defaults(run=check)


def check(arguments: argparse.Namespace) -> int:
    """Check a profile, or print the schema."""
    from trio_lb.profile import dump_profile, json_schema

    if arguments.schema:
        import json

        print(json.dumps(json_schema(), indent=2))
        return 0
    if arguments.file and arguments.profile:
        raise UsageError("two profiles are given: check takes one")
    profile = read_profile(arguments.file or arguments.profile)
    if not arguments.quiet:
        print(dump_profile(profile, as_written=True), end="")
    return 0
