"""What the commands of this benchmark have in common on their command lines, and how they end."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks.macro import balancers, peers

if TYPE_CHECKING:
    from collections.abc import Callable

#: Where results go unless `--save` says otherwise.
RESULTS = peers.ROOT / "build" / "benchmarks"


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that knows which peers take part and where results go."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ",".join(balancers.PEERS)
    made.add_argument("--peers", type=str, metavar="NAME,...", help=f"default: {names}")
    made.add_argument(
        "--program", type=_program, action="append", default=[], metavar="NAME=PATH",
        help=f"a program that takes part as well: {', '.join(balancers.PROGRAMS)}",
    )  # fmt: skip
    made.add_argument(
        "--save", type=Path, default=RESULTS, metavar="DIR", help="default: build/benchmarks"
    )
    return made


def chosen_peers(options: argparse.Namespace) -> dict[str, peers.Peer | None]:
    """Returns the peers that are to take part.

    Raises:
        PeerError: there is no such peer.
    """
    usual = balancers.with_programs(dict(options.program))
    known = {**usual, **balancers.BESIDES}
    names = options.peers.split(",") if options.peers else list(usual)
    for name in names:
        if name not in known:
            raise peers.PeerError(f"no peer {name!r}; there are {', '.join(known)}")
    return {name: known[name] for name in names}


def _program(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if name not in balancers.PROGRAMS or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"no program of a peer that is known: {text!r}")
    return name, Path(path)


def positive(text: str) -> int:
    """Reads a whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def positives(text: str) -> list[int]:
    """Reads a list of them, with commas between."""
    return [positive(part) for part in text.split(",")]


def run(measure: Callable[[], int]) -> int:
    """Runs the command; returns its exit status, and says in a line why it can't be done."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        if shutil.which("wrk") is None:
            raise peers.PeerError("wrk is not installed")
        return measure()
    except KeyboardInterrupt:
        print("interrupted; everything that was started has ended", file=sys.stderr)
        return 130
    except peers.PeerError as error:
        print(f"can't measure: {error}", file=sys.stderr)
        return 1


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt
