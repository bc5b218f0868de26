"""Profiles: reading them, what they say, and writing them.

A profile is a YAML file, strict: what isn't known or isn't right is an error with its place, and
all of them are told at once. The profile format of Bal.rs is read too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trio_lb.profile import balrs, loading
from trio_lb.profile.address import ANY_HOST, Address, parse_listen_address, parse_server_address
from trio_lb.profile.algorithm import Algorithm, parse_algorithm
from trio_lb.profile.dump import dump_profile
from trio_lb.profile.model import (
    HealthCheck,
    Limits,
    Listen,
    Profile,
    Server,
    Timeouts,
    Upstream,
)
from trio_lb.profile.pages import ErrorPage, read_pages
from trio_lb.profile.problems import Position, Problem, ProfileError
from trio_lb.profile.proxies import ForwardedField, TrustedNetwork
from trio_lb.profile.reading import conflicts, read_profile
from trio_lb.profile.schema import json_schema
from trio_lb.profile.values import parse_workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ANY_HOST",
    "Address",
    "Algorithm",
    "ErrorPage",
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
    "dump_profile",
    "json_schema",
    "load_profile",
    "override",
    "parse_algorithm",
    "parse_listen_address",
    "parse_profile",
    "parse_server_address",
    "parse_workers",
    "read_pages",
]

_COMMAND_LINE = "command line"
_SMALLEST = '"servers: http://127.0.0.1:3001"'


def load_profile(
    path: str | os.PathLike[str],
    environ: Mapping[str, str] = os.environ,
    *,
    streams: bool = False,
) -> Profile:
    """Read a profile from a file.

    Args:
        path: the file; its name begins every line of an error.
        environ: what `${NAME}` in the file stands for.
        streams: a pipe or a terminal will do as well, and is waited for.

    Raises:
        ProfileError: the file can't be read, or with everything that is wrong in it.
    """
    path = Path(path)
    return parse_profile(loading.read_text(path, streams=streams), str(path), environ)


def parse_profile(
    text: str, source: str = "<profile>", environ: Mapping[str, str] = os.environ
) -> Profile:
    """Read a profile from a text.

    Args:
        text: YAML, or the format of Bal.rs.
        source: what the text is called in errors.
        environ: what `${NAME}` in the text stands for.

    Raises:
        ProfileError: with everything that is wrong in it, and nothing else for any text.
    """
    text = text.removeprefix("\ufeff")
    loading.check_characters(text, source)
    if balrs.is_balrs(text):
        tree, problems = balrs.compose(text, source)
        return read_profile(tree, source, environ, problems)
    root = loading.compose(text, source)
    if root is None or (isinstance(root, loading.Scalar) and root.is_null):
        message = "there is nothing in it: a profile has at least one server, as in " + _SMALLEST
        raise ProfileError([Problem(source, Position(1, 1), "", message)])
    return read_profile(root, source, environ)


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
    )
    problems = [Problem(_COMMAND_LINE, None, path, message) for path, message in found]
    if problems:
        raise ProfileError(problems)
    return changed
