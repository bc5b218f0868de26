"""The command line: one module per command, each importing what it needs only when it runs."""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import TYPE_CHECKING, Any

from trio_lb.cli import check, demo, reload, start, stop
from trio_lb.cli.common import FAILED, Parser, examples, print_error
from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: its arguments; those of the process if None.

    Returns:
        The exit code: 0, or 2 for a wrong usage or profile, or 1 for anything else.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error is by itself
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads on, as in `trio-lb check | head -1`; nor may the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    except OSError as error:
        print_error(error.strerror or str(error))
        return FAILED
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.run(arguments))
    except SystemExit as end:  # argparse: 0 after help, 2 after an error that it has told
        return end.code if isinstance(end.code, int) else FAILED
    except TrioLBError as error:
        return print_error(error)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="trio-lb",
        description="An L7 HTTP load balancer.",
        epilog=examples(
            ("trio-lb demo", "see it work, with three small servers of its own"),
            ("trio-lb start", "run the profile config.yaml"),
            ("trio-lb start x.yaml -r", "run another one, with a live report"),
            ("trio-lb reload", "make it read its profile again"),
            ("trio-lb stop", "drain it: finish what is in flight, then stop"),
            ("trio-lb check x.yaml", "check it, and print all its values"),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action=_Version, help="print the version and exit")
    parser.set_defaults(run=lambda _: _print_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (start, reload, stop, check, demo):
        command.add_to(commands)
    helper = commands.add_parser("help", help="explain a command", description="Explain a command.")
    helper.add_argument("command", nargs="?", metavar="COMMAND", choices=[*commands.choices])
    helper.set_defaults(
        run=lambda args: _print_help(commands.choices[args.command] if args.command else parser)
    )
    return parser


def _print_help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


class _Version(argparse.Action):
    """Looks the version up only if it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, **rest)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        try:
            version = metadata.version("trio-lb")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"trio-lb {version}")
        parser.exit()
