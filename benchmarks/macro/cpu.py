"""A process and its children, and their CPU time, from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Stat:
    """What is needed of /proc/PID/stat (see proc_pid_stat(5))."""

    pid: int
    parent: int
    ticks: int  # utime + stime, and those of children that have ended and were waited for


def parse_stat(text: str) -> Stat:
    """Reads the line of /proc/PID/stat; the command in it may hold spaces and parentheses."""
    pid, _, rest = text.partition(" ")
    fields = rest.rpartition(")")[2].split()
    return Stat(int(pid), int(fields[1]), sum(int(ticks) for ticks in fields[11:15]))


def family(root: int, stats: Iterable[Stat]) -> list[Stat]:
    """Returns what there is of the process `root` and all its descendants."""
    by_parent: dict[int, list[Stat]] = {}
    found = []
    for stat in stats:
        by_parent.setdefault(stat.parent, []).append(stat)
        if stat.pid == root:
            found.append(stat)
    parents = [root]
    while parents:
        children = by_parent.get(parents.pop(), [])
        found += children
        parents += [child.pid for child in children]
    return found


def tree_ticks(root: int, stats: Iterable[Stat]) -> int:
    """Returns the ticks of the process `root` and all its descendants together."""
    return sum(stat.ticks for stat in family(root, stats))


def tree(pid: int) -> list[int]:
    """Returns the numbers of a process and of all that it has started."""
    return [stat.pid for stat in family(pid, _all_stats())]


def tree_seconds(pid: int) -> float:
    """Returns the CPU seconds used so far by a process tree, user and system together."""
    return tree_ticks(pid, _all_stats()) / os.sysconf("SC_CLK_TCK")


def _all_stats() -> list[Stat]:
    stats = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stats.append(parse_stat((directory / "stat").read_text(errors="replace")))
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return stats
