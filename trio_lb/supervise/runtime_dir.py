"""Where a load balancer is found whose profile names no pid file: in the user's runtime directory.

The name there comes from the profile's: `trio-lb stop -p x.yaml` looks where `trio-lb start -p
x.yaml` has written. Root has /run/trio-lb. Others have what their session gives them, and where
there is no session, a directory of their own below the one for temporary files, where anybody may
have put something of that name: only what is ours alone to write in is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from typing import Final

_SYSTEM: Final = "/run"
_READABLE_NAME: Final = 40


def default_pid_file(profile: str) -> str | None:
    """The pid file for a profile that names none; its directory is made if need be.

    Args:
        profile: name of the profile's file.

    Returns:
        None where no directory is to be had.
    """
    for directory in _directories():
        try:
            os.mkdir(directory, 0o755 if directory.startswith(_SYSTEM) else 0o700)
        except FileExistsError:
            pass
        except OSError:
            continue
        if _is_ours(directory):
            return os.path.join(directory, _name(profile))
    return None


def possible_pid_files(profile: str) -> list[str]:
    """Where the pid file of a running one may be: its session need not be that of who looks."""
    return [os.path.join(each, _name(profile)) for each in _directories() if _is_ours(each)]


def _directories() -> list[str]:
    user = os.geteuid()
    if user == 0:
        parents = [_SYSTEM]
    else:
        parents = [os.environ.get("XDG_RUNTIME_DIR", ""), f"{_SYSTEM}/user/{user}"]
    directories = [os.path.join(each, "trio-lb") for each in parents if os.path.isabs(each)]
    directories.append(os.path.join(tempfile.gettempdir(), f"trio-lb-{user}"))
    return list(dict.fromkeys(directories))


def _is_ours(directory: str) -> bool:
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not others


def _name(profile: str) -> str:
    path = os.path.abspath(profile)
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", os.path.basename(path))[:_READABLE_NAME]
    return f"{name}-{digest}.pid"
