"""Resident memory of a process and its children, from /proc (Linux)."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from benchmarks.macro.cpu import tree


def parse_pss(rollup: str) -> int:
    """Reads the proportional set size, in bytes, from the text of /proc/PID/smaps_rollup."""
    found = re.search(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
    if found is None:
        raise ValueError(f"no Pss in {rollup!r}")
    return int(found[1]) * 1024


def tree_bytes(pid: int) -> int:
    """Returns the memory of a process tree: pages that several share count once in all."""
    total = 0
    for each in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            total += parse_pss(Path(f"/proc/{each}/smaps_rollup").read_text())
    return total
