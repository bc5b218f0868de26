"""How much CPU time a control group leaves us: what containers and units are limited by.

A quota is a share of the time on all CPUs that may be used, so affinity does not show it. Any group
between ours and the root of what we see may have one; the least counts. See cgroups(7).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many CPUs' time this process may use, with a fraction; None if there is no limit.

    Args:
        root: where /proc is.
    """
    quotas = []
    for group in _groups(root):
        try:
            quota = _quota_of_v2(group) if (group / "cpu.max").exists() else _quota_of_v1(group)
        except (OSError, ValueError, ArithmeticError):  # a root group has no such file
            continue
        if quota is not None and quota > 0:
            quotas.append(quota)
    return min(quotas, default=None)


def _quota_of_v2(group: Path) -> float | None:
    quota, period = (group / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_v1(group: Path) -> float | None:
    quota = int((group / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else quota / int((group / "cpu.cfs_period_us").read_text())


def _groups(root: Path) -> Iterator[Path]:
    """The directories of our group and those above it, of both versions of cgroups."""
    try:
        ours = dict(_memberships((root / "proc/self/cgroup").read_text()))
        mounts = (root / "proc/self/mountinfo").read_text()
    except (OSError, ValueError):  # not Linux, or no /proc
        return
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            path = ours.get("")
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            path = ours.get("cpu")
        else:
            continue
        if path is not None:
            top, mounted = (PurePosixPath(_unescaped(fields[each])) for each in (3, 4))
            yield from _between(root / mounted.relative_to("/"), top, PurePosixPath(path))


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """Our group by controller; that of version 2 by nothing."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for each in controllers.split(","):
            yield each, path


def _between(mounted: Path, top: PurePosixPath, ours: PurePosixPath) -> Iterator[Path]:
    """From our group up to the one that is mounted.

    In a container without a namespace of its own for groups, ours has the name that it has outside,
    and the mounted group is ours.
    """
    below = ours.relative_to(top) if ours.is_relative_to(top) else PurePosixPath()
    if ".." not in below.parts:
        for each in (below, *below.parents):
            yield mounted / each


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
