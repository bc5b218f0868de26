"""What is left of a balancer's exchanges when nobody asks for anything any more: nothing."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.support.process import process_usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.fleet import Fleet

#: Seconds after which nothing may be left, with a drain of an earlier generation.
WITHIN = 25.0
#: Bytes of a process that has served much, beyond which it has grown.
MEMORY = 200 << 20
#: Pipes that bodies go through are kept, up to 16 of them.
PIPES = 32

_LINE = re.compile(r"[-\d]+[ T][\d:.,]+\S* +(DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]")

#: Warnings and errors that belong to what is done in a run.
EXPECTED = re.compile(
    r"worker \d+ was killed by SIGKILL: starting a new one"
    r"|worker \d+ \(pid \d+\) did not respond"
    r"|running as root, and so do the workers"
    r"|old workers are still draining: the reload waits for them"
    r"|the name of \S+ does not resolve: "
)
#: Likewise, where servers fail or seem to.
FAILING = re.compile(
    r"server \S+: \w+ -> dead: |server \S+ could not be checked: "
    r"|no server is available for request "
)


def descriptors(pid: int) -> Counter[str]:
    """What the descriptors of a process are open on: "socket", "pipe", or a name."""
    names: Counter[str] = Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            names[os.readlink(f"/proc/{pid}/fd/{number}").partition(":[")[0]] += 1
    return names


#: By the numbers that /proc/net/tcp has for them.
_STATES = {"01": "established", "04": "FIN wait 1", "05": "FIN wait 2", "08": "close wait"}


def sockets(pid: int) -> list[str]:
    """Each TCP connection of a process, with its state and queues: for who looks into one."""
    own = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            own.add(os.readlink(f"/proc/{pid}/fd/{number}"))
    found = []
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, _, _, _, _, inode, *_ = line.split()
        if f"socket:[{inode}]" in own and state in _STATES:
            ends = " to ".join(str(int(end.partition(":")[2], 16)) for end in (local, remote))
            found.append(f"port {ends} {_STATES[state]}, sent:received {queues}")
    return found


def left_in_report(report: dict[str, Any], workers: int) -> list[str]:
    """What a report of an idle balancer must not say."""
    left = []
    if report["client_connections"]:
        left.append(f"{report['client_connections']} client connections")
    for server in report["servers"]:
        if server["active"]:
            left.append(f"{server['active']} requests in flight on {server['name']}")
        if server["state"] != "alive":
            left.append(f"{server['name']} is {server['state']}")
    states = [worker["state"] for worker in report["workers"]]
    if states != ["serving"] * workers:
        left.append(f"workers: {states}")
    return left


def left_in_process(pid: int, found: Counter[str], base: Counter[str], rss_bytes: int) -> list[str]:
    """What an idle process must not hold.

    Args:
        pid: which one.
        found, base: its descriptors, now and as it had begun.
        rss_bytes: its memory.
    """
    more = found - base
    if more["pipe"] <= PIPES:
        del more["pipe"]
    left = [f"process {pid}: {count} more of {name}" for name, count in more.items()]
    if rss_bytes > MEMORY:
        left.append(f"process {pid}: {rss_bytes >> 20} MiB")
    return left


def unexpected(lines: Iterable[str], *, failing: bool) -> list[str]:
    """Lines of a log that a run should not bring about.

    Args:
        lines: of the log.
        failing: servers fail, or something else stands still that makes them seem to.
    """
    found = []
    for line in lines:
        level = _LINE.match(line)
        harmless = level is not None and level[1] in ("INFO", "DEBUG")
        if not (harmless or EXPECTED.search(line) or (failing and FAILING.search(line))):
            found.append(line)
    return found


class Quiet:
    """Knows how the balancer has begun, and waits until it is like that again."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._base: Counter[str] | None = None
        self._logged = 0

    async def wait(self, *, failing: bool) -> list[str]:
        """Waits until nothing is left; returns what there still is after `WITHIN`.

        Args:
            failing: see `unexpected`.
        """
        left = ["nothing was looked at"]
        with trio.move_on_after(WITHIN):
            while left:
                await trio.sleep(0.3)
                left = await self._look()
        if left:
            for pid in self._fleet.program.pids:
                left += [f"process {pid}: {each}" for each in sockets(pid)]
        child = self._fleet.program.child
        lines, self._logged = child.stderr[self._logged :], len(child.stderr)
        return left + [f"log: {line}" for line in unexpected(lines, failing=failing)]

    async def _look(self) -> list[str]:
        pids = self._fleet.program.pids
        left = left_in_report(await self._report(), len(pids))
        if len(pids) != 2:
            left.append(f"{len(pids)} workers")
        for pid in pids:
            with suppress(FileNotFoundError):
                found = descriptors(pid)
                self._base = self._base or found
                left += left_in_process(pid, found, self._base, process_usage(pid).rss_bytes)
        return left

    async def _report(self) -> dict[str, Any]:
        """The next report that begins now."""
        path = self._fleet.saved
        size = path.stat().st_size if path.exists() else 0
        while True:
            with suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(size)
                lines = file.read().split(b"\n")
                if len(lines) > 2:  # the first one may have been taken before
                    report: dict[str, Any] = json.loads(lines[-2])
                    return report
            await trio.sleep(0.1)
