"""Profiles: reading, checking and writing them.

A profile is a strict YAML file: unknown keys and invalid values are errors with line and column,
and all of them are reported at once. The profile format of Bal.rs is read too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trio_lb.config import balrs, loading, objects
from trio_lb.config.address import parse_listen_address, parse_server_address
from trio_lb.config.algorithm import parse_algorithm
from trio_lb.config.compile import compile_listeners, compile_plan
from trio_lb.config.conflicts import conflicts
from trio_lb.config.dump import dump_profile
from trio_lb.config.model import HealthCheck, Limits, Listen, Profile, Server, Timeouts, Upstream
from trio_lb.config.problems import Position, Problem, ProfileError
from trio_lb.config.reading import Review, read_profile
from trio_lb.config.schema import json_schema
from trio_lb.config.values import parse_workers
from trio_lb.plan import Address, Algorithm, ForwardedField, TrustedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "Address",
    "Algorithm",
    "ForwardedField",
    "HealthCheck",
    "Limits",
    "Listen",
    "Position",
    "Problem",
    "Profile",
    "ProfileError",
    "Server",
    "Timeouts",
    "TrustedNetwork",
    "Upstream",
    "compile_listeners",
    "compile_plan",
    "dump_profile",
    "json_schema",
    "load_profile",
    "override",
    "parse_algorithm",
    "parse_listen_address",
    "parse_profile",
    "parse_server_address",
    "parse_workers",
]

_COMMAND_LINE = "command line"
_SMALLEST = '"servers: http://127.0.0.1:3001"'


def load_profile(
    path: str | os.PathLike[str],
    environ: Mapping[str, str] = os.environ,
    *,
    streams: bool = False,
    review: Review | None = None,
    warn: Callable[[Problem], None] | None = None,
) -> Profile:
    """Read a profile from a file.

    Args:
        path: the file; its name begins every line of an error.
        environ: what `${NAME}` in the file stands for.
        streams: a pipe or a terminal will do as well, and is waited for.
        review: finds what is wrong with a profile that is right by itself, with paths of values.
        warn: called with what is no error, and may well be a mistake.

    Raises:
        ProfileError: the file can't be read, or with everything that is wrong in it.
    """
    path = Path(path)
    text = loading.read_text(path, streams=streams)
    return parse_profile(text, str(path), environ, review=review, warn=warn)


def parse_profile(
    profile: str | Mapping[str, object],
    source: str = "<profile>",
    environ: Mapping[str, str] = os.environ,
    *,
    review: Review | None = None,
    warn: Callable[[Problem], None] | None = None,
) -> Profile:
    """Read a profile from a text, or from what YAML or JSON would make of one.

    Args:
        profile: YAML, or the format of Bal.rs; or a dict with the keys of a profile. Its values are
            numbers, truth values, texts, lists and dicts; a `timedelta` is a duration, too.
        source: what it is called in errors.
        environ: what `${NAME}` in a text stands for.
        review: finds what is wrong with a profile that is right by itself, with paths of values.
        warn: called with what is no error, and may well be a mistake.

    Raises:
        ProfileError: with everything that is wrong in it, and nothing else for any text.
    """
    root, problems = _tree(profile, source)
    return read_profile(root, source, environ, problems, review=review, warn=warn)


def _tree(
    profile: str | Mapping[str, object], source: str
) -> tuple[loading.Node, Sequence[Problem]]:
    """The tree of what a profile says, and what is wrong with the text itself."""
    if not isinstance(profile, str):
        return objects.tree_of(profile, source), ()
    text = profile.removeprefix("\ufeff")
    loading.check_characters(text, source)
    if balrs.is_balrs(text):
        return balrs.compose(text, source)
    root = loading.compose(text, source)
    if root is None or (isinstance(root, loading.Scalar) and root.is_null):
        message = "the profile is empty: it needs at least one server, as in " + _SMALLEST
        raise ProfileError([Problem(source, Position(1, 1), "", message)])
    return root, ()


def override(
    profile: Profile,
    *,
    listen: Sequence[Address | str] | None = None,
    algorithm: Algorithm | str | None = None,
    workers: int | str | None = None,
) -> Profile:
    """Put what a command line says over a profile.

    Args:
        profile: what holds where nothing is given.
        listen: addresses to listen on in place of the profile's.
        algorithm: long or short name.
        workers: how many processes, or "auto".

    Raises:
        ProfileError: a value is wrong, or wrong together with this profile.
    """
    changes: dict[str, object] = {}
    try:
        if listen is not None:
            changes["listen"] = tuple(
                Listen(address=parse_listen_address(each) if isinstance(each, str) else each)
                for each in listen
            )
        if algorithm is not None:
            changes["algorithm"] = parse_algorithm(algorithm)
        if workers is not None:
            changes["workers"] = parse_workers(str(workers))
    except ValueError as error:
        raise ProfileError([Problem(_COMMAND_LINE, None, "", str(error))]) from None
    kept = {
        path: text
        for path, text in profile.from_environment.items()
        if re.split(r"[.\[]", path)[0] not in changes
    }
    changed = msgspec.structs.replace(profile, **changes, from_environment=kept)
    found = conflicts(
        {f"listen[{index}]": each for index, each in enumerate(changed.listen)},
        {f"servers[{index}]": server for index, server in enumerate(changed.servers)},
        bool(changed.trusted_proxies),
        changed.health_check.port,
    )
    problems = [Problem(_COMMAND_LINE, None, path, message) for path, message in found]
    if problems:
        raise ProfileError(problems)
    return changed
