"""Reaping as process 1: in a container, whoever loses its parent becomes our child."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class OrphanReaper:
    """Collects the ended processes that nobody here has started, and no others.

    Trio waits for each of its processes by itself; taking the status of one of them away would
    turn a crash into a clean end. So whoever starts processes says so:

        with reaper.starting():
            process = await trio.lowlevel.open_process(...)
            reaper.own.add(process.pid)
        await process.wait()
        reaper.own.discard(process.pid)

    Attributes:
        own: the processes that this one has started and that were not waited for yet.
    """

    def __init__(self) -> None:
        self.own: set[int] = set()
        self._starting = 0

    @contextmanager
    def starting(self) -> Iterator[None]:
        """While a process is being started its number isn't known: nothing is reaped meanwhile."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def reap(self) -> list[int]:
        """Collect the orphans that have ended; to be called every second or so.

        Costs a system call if there is none. An ended process of our own that was not waited for
        yet hides those that came after it until the next call.

        Returns:
            Their numbers.
        """
        reaped: list[int] = []
        if self._starting:
            return reaped
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            while found := os.waitid(os.P_ALL, 0, look):
                if found.si_pid in self.own:
                    break
                os.waitpid(found.si_pid, os.WNOHANG)
                reaped.append(found.si_pid)
        except ChildProcessError:  # there are none
            pass
        return reaped
