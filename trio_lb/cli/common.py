"""What the commands share: exit codes, options, and how errors are printed."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

import argparse_addons

from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_lb.config import Address, Algorithm, Problem, Profile
    from trio_lb.config.reading import Review

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

T = TypeVar("T")

FAILED: Final = 1
WRONG_USAGE: Final = 2

DEFAULT_PROFILE: Final = "config.yaml"
"""In the working directory; what Bal.rs reads too."""

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class UsageError(TrioLBError):
    """A command can't do what it is asked to, and its user can change that."""


class Parser(argparse.ArgumentParser):
    """Suggests the nearest command or option for a mistyped one."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """As `argparse` has it; see `_unknown` for what is left over."""
        arguments, rest = self.parse_known_args(args, namespace)
        if rest:
            parser: Parser = getattr(arguments, "parser", self)
            parser.error(parser._unknown(rest[0]))
        return arguments

    def _unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"one argument too many: {argument}"
        option = argument.partition("=")[0]
        known = [each for each in self._option_string_actions if each.startswith("--")]
        near = difflib.get_close_matches(option, known, 1)
        return f"unknown option {option}" + (f": did you mean {near[0]}?" if near else "")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(each) for each in action.choices]
        near = difflib.get_close_matches(str(value), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        raise argparse.ArgumentError(None, f"unknown command {value}: {hint}")


def examples(*pairs: tuple[str, str]) -> str:
    """The examples at the end of a help text."""
    width = max(len(command) for command, _ in pairs)
    return "examples:\n" + "\n".join(f"  {command:{width}}  {why}" for command, why in pairs)


def add_command(
    commands: Commands, name: str, summary: str, description: str, *pairs: tuple[str, str]
) -> argparse.ArgumentParser:
    """Add a command with its help text; the pairs are its examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(description, 78),
        epilog=examples(*pairs),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(parser=parser)
    return parser


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """Add `--log-level`."""
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        type=log_levels,
        default=[],
        help=(
            f"least serious messages to log: {', '.join(LEVELS)}; or for some loggers, as in "
            "trio_lb.proxy=debug:info (default: log_level of the profile, or info)"
        ),
    )


def log_levels(text: str) -> list[tuple[str | None, str]]:
    """Read `--log-level`: levels by logger name, None for all others."""
    try:
        levels: list[tuple[str | None, str]] = argparse_addons.parse_log_level(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected LEVEL or NAME=LEVEL, as in trio_lb.proxy=debug:info, got {text!r}"
        ) from None
    for _, level in levels:
        if level.lower() not in LEVELS:
            near = difflib.get_close_matches(level.lower(), LEVELS, 1)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            raise argparse.ArgumentTypeError(
                f"unknown level {level!r}: {hint}expected one of {', '.join(LEVELS)}"
            )
    return [(name, level.upper()) for name, level in levels]


def listen_address(text: str) -> Address:
    """Read `--address`."""
    from trio_lb.config import parse_listen_address

    return _parsed(parse_listen_address, text)


def algorithm(text: str) -> Algorithm:
    """Read `--algorithm`."""
    from trio_lb.config import parse_algorithm

    return _parsed(parse_algorithm, text)


def workers(text: str) -> int | str:
    """Read `--workers`."""
    from trio_lb.config import parse_workers

    return _parsed(parse_workers, text)


def duration(text: str) -> float:
    """Read a time to wait; seconds."""
    from trio_lb.config.units import parse_duration

    return _parsed(parse_duration, text)


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None


def file_name(text: str) -> str:
    """Read the name of a file."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected a file name, got nothing")
    return text


def add_profile(parser: argparse.ArgumentParser, what: str = "the profile") -> None:
    """Add the two ways to name a profile; see `profile_name`."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        type=file_name,
        help=f"{what} (default: {DEFAULT_PROFILE})",
    )
    parser.add_argument(
        "-p",
        "--profile",
        "--path",
        metavar="FILE",
        type=file_name,
        help="the same as FILE",
    )


def profile_name(arguments: argparse.Namespace) -> str | None:
    """The profile that a command was given, if any.

    Raises:
        UsageError: two of them.
    """
    if arguments.file and arguments.profile:
        raise UsageError("expected one profile, got two")
    name: str | None = arguments.file or arguments.profile
    return name


def read_profile(
    path: str | None,
    *,
    again: bool = False,
    review: Review | None = None,
    warn: Callable[[Problem], None] | None = None,
) -> Profile:
    """Read the profile that a command was given, or `DEFAULT_PROFILE`.

    Args:
        path: as it was given; a pipe will do (`/dev/stdin`, `<(command)`).
        again: while something runs; then it has to be a regular file.
        review: finds what is wrong with one that is right by itself.
        warn: called with what may be a mistake.

    Raises:
        UsageError: none was given, and there is none by that name.
        ProfileError: it is wrong.
    """
    from trio_lb.config import load_profile

    if path is None and not os.path.exists(DEFAULT_PROFILE):
        raise UsageError(
            f"there is no {DEFAULT_PROFILE} in this directory: "
            "give a profile with --profile FILE, or try `trio-lb demo`"
        )
    return load_profile(path or DEFAULT_PROFILE, streams=not again, review=review, warn=warn)


def read_standard_input(
    *, review: Review | None = None, warn: Callable[[Problem], None] | None = None
) -> Profile:
    """Read a profile from standard input; see `read_profile`.

    Raises:
        ProfileError: it is wrong.
    """
    from trio_lb.config import parse_profile
    from trio_lb.config.loading import MAX_BYTES, decode

    source = "<standard input>"
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 1)
    return parse_profile(decode(data, source), source, review=review, warn=warn)


def print_error(error: TrioLBError | str) -> int:
    """Tell an error on standard error, a line for each problem of a profile.

    Returns:
        The exit code for it.
    """
    from trio_lb.config import ProfileError

    if isinstance(error, ProfileError):
        colours = _has_colours(sys.stderr)
        for problem in error.problems:
            line = str(problem)
            if problem.position is None:
                line = f"trio-lb: {line}"
            elif colours:
                line = line.replace(problem.location, f"\033[1m{problem.location}\033[m", 1)
            print(line, file=sys.stderr)
        return WRONG_USAGE
    print(f"trio-lb: {error}", file=sys.stderr)
    return WRONG_USAGE if isinstance(error, UsageError) else FAILED


def _has_colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
