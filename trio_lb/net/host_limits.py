"""What this host lacks, recognised by the errors of system calls; logged once a second at most."""

from __future__ import annotations

import errno
import logging
import math
import os
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import (
    HostLimit,
    OutOfBuffers,
    OutOfDescriptors,
    OutOfMemory,
    OutOfPorts,
    OutOfWatches,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("trio_lb.net")

_LIMITS: Mapping[int | None, type[HostLimit]] = {
    errno.EMFILE: OutOfDescriptors,
    errno.ENFILE: OutOfDescriptors,
    errno.EADDRNOTAVAIL: OutOfPorts,
    errno.ENOMEM: OutOfMemory,
    errno.ENOBUFS: OutOfBuffers,
    errno.ENOSPC: OutOfWatches,
}

#: Each kind is logged at most this often; seconds.
_TOLD_EVERY = 1.0

_told: trio.lowlevel.RunVar[dict[type[HostLimit], float]] = trio.lowlevel.RunVar("trio_lb limits")


def host_limit(exc: OSError, doing: str, *, connected: bool = False) -> HostLimit | None:
    """What this host lacks, if that is what an error says.

    Args:
        exc: the error.
        doing: what failed.
        connected: it was for a connection that exists.
    """
    limit = _LIMITS.get(exc.errno)
    if limit is None:
        return None
    return limit(f"{doing}: {os.strerror(exc.errno or 0)}", connected=connected)


def tell(limit: HostLimit) -> None:
    """Say in the log what is lacking and what helps, unless that was said a moment ago."""
    try:
        told = _told.get()
    except LookupError:
        _told.set(told := {})
    now = trio.current_time()
    if now - told.get(type(limit), -math.inf) >= _TOLD_EVERY:
        told[type(limit)] = now
        log.warning("%s (%s)", limit.advice, limit.reason)


def watch_failed(exc: OSError) -> OSError | HostLimit:
    """What it means that a connection can't be watched; a want of ours has been told of then."""
    limit = host_limit(exc, "watching a connection", connected=True)
    if limit is None:
        return exc
    tell(limit)
    return limit
