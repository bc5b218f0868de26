"""What the machine gives to this process: CPUs and file descriptors."""

from __future__ import annotations

import math
import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from trio_lb.config.values import MAX_WORKERS

from .cpu_quota import cpu_quota

if TYPE_CHECKING:
    from trio_lb.config import Profile

#: Descriptors of a worker besides its connections: standard streams, epoll, logs, the table.
_RESERVE: Final = 64


def worker_count(profile: Profile) -> int:
    """How many workers a profile means on this machine, now."""
    if profile.workers != "auto":
        return profile.workers
    quota = cpu_quota()
    worth = MAX_WORKERS if quota is None else math.ceil(quota)
    return min(_cpus(), worth, MAX_WORKERS)


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def raise_descriptor_limit() -> int:
    """Raise the limit of open files to the hard limit; workers started later inherit it.

    Returns:
        The limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower limit besides
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def descriptors_needed(profile: Profile) -> int:
    """Estimate how many descriptors one worker needs if it alone has what the profile allows.

    Servers without `max_connections` count with their idle connections only: there is no telling
    how many requests they get.
    """
    requests = sum(server.max_connections for server in profile.servers)
    clients = max(requests, profile.limits.clients or 0)
    idle = len(profile.servers) * profile.upstream.idle_connections
    listening = worker_count(profile) * len(profile.listen)  # each has those of all workers
    return clients + requests + idle + listening + _RESERVE


def descriptor_warning(profile: Profile, limit: int) -> str | None:
    """What to tell if the limit of open files can't carry a profile's maxima; None if it can."""
    needed = descriptors_needed(profile)
    if limit == resource.RLIM_INFINITY or needed <= limit:
        return None
    return (
        f"a worker may need {needed} open files, and {limit} are allowed: raise the limit "
        "(LimitNOFILE= of systemd, ulimit -Hn) or lower max_connections, idle_connections or "
        "limits.clients"
    )
