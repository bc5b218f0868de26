"""Keeping one worker: a process that is replaced when it dies, hangs, or has to give way.

One keeper for each worker of a generation. A worker that dies soon after its start is started
again after growing pauses.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from trio_lb.balance import NoRoom, Tally
from trio_lb.errors import TrioLBError
from trio_lb.report.statistics import WorkerStatistics

from .orders import DRAIN, READY, Lines, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.balance import SharedTable
    from trio_lb.report.statistics import WorkerState

    from .orders import Orders
    from .orphans import OrphanReaper

log = logging.getLogger("trio_lb.supervisor")

#: A worker whose loop has not turned for so long (seconds) is killed.
SILENCE = 4.0

#: Seconds that a worker may take to its first heartbeat.
START = 30.0

#: A worker that lived shorter than this (seconds) died at its start, as it were.
_QUICK = 5.0

#: Pauses before the next start, by quick deaths in a row; the last one stays.
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

#: So many quick deaths in a row, none of them ready, mean that no worker can be started here.
_HOPELESS = 5

#: Seconds that a worker has beyond the drain time before it is killed.
MARGIN = 5.0


class WorkersKeepDying(TrioLBError):  # noqa: N818
    """Workers die before they are ready, again and again."""


class Keeper:
    """One worker of a generation, whichever process that is at the moment.

    Args:
        number: of the worker, from 0.
        table: whose rows the processes get.
        orders: makes a process's orders from its row.
        drain: seconds that a drain may take.
        reaper: must know which processes are not its business.
        share: called when `serving` changes.

    Attributes:
        ready: set once a process of it accepts clients, for good.
        serving: there is one that does.
        pid: of the present process, None while there is none.
        starts: processes started so far.
    """

    def __init__(
        self,
        number: int,
        table: SharedTable,
        orders: Callable[[int], tuple[Orders, list[int]]],
        drain: float,
        reaper: OrphanReaper,
        share: Callable[[], None],
    ) -> None:
        self.number = number
        self.ready = trio.Event()
        self.serving = False
        self.pid: int | None = None
        self.starts = 0
        self._table = table
        self._orders = orders
        self._drain = drain
        self._reaper = reaper
        self._share = share
        self._draining = trio.Event()
        self._row: int | None = None
        self._absent: list[int] = []
        self._news = trio.Event()

    def __repr__(self) -> str:
        state = "draining" if self._draining.is_set() else "ready" if self.ready.is_set() else "new"
        return f"<Keeper of worker {self.number}: pid {self.pid}, {state}, {self.starts} starts>"

    def drain(self) -> None:
        """Have the worker drain and not be replaced."""
        self._draining.set()
        self._news.set()

    def stand_in(self, absent: list[int]) -> None:
        """Have the worker accept for these others as well, until it is told otherwise."""
        self._absent = absent
        self._news.set()

    def statistics(self) -> WorkerStatistics:
        """What its present process has done so far."""
        table, row = self._table.table, self._row
        age = None if row is None else table.heartbeat_age(row, trio.current_time())
        state: WorkerState = "serving" if self.serving else "starting"
        worker = WorkerStatistics(
            number=self.number,
            state="draining" if self._draining.is_set() else state,
            pid=self.pid,
            starts=self.starts,
            heartbeat_age_s=age,
        )
        if row is None:
            return worker
        clients = Tally(table).read(row)
        active, served = table.work(row)
        return replace(
            worker,
            connections=clients.connections,
            connections_total=clients.connections_total,
            requests=clients.requests,
            active=active,
            served=served,
        )

    async def keep(self) -> bool:
        """Keep a worker until it has drained.

        Returns:
            True if it finished everything that it had in hand.

        Raises:
            WorkersKeepDying: no process of this worker ever became ready.
        """
        quick = 0
        while True:
            started = trio.current_time()
            try:
                code = await self._run()
                how = _how(code)
            except (OSError, NoRoom) as exc:
                code, how = 0, f"could not be started: {exc}"
            if self._draining.is_set():
                return code == 0
            quick = quick + 1 if trio.current_time() - started < _QUICK else 0
            if quick >= _HOPELESS and not self.ready.is_set():
                raise WorkersKeepDying(f"{quick} workers in a row died at their start, {how}")
            pause = _PAUSES[min(quick, len(_PAUSES) - 1)]
            after = f" in {pause:g} s" if pause else ""
            log.error("worker %d %s: starting another one%s", self.number, how, after)
            with trio.move_on_after(pause):
                await self._draining.wait()
            if self._draining.is_set():
                return True

    async def _run(self) -> int:
        """One process, from its start to its end; its exit code.

        Cancelling kills it at once.

        Raises:
            OSError, NoRoom: it can't be started.
        """
        self._row = row = self._table.lease()
        try:
            process, control, orders = await self._start(row)
            try:
                async with control, trio.open_nursery() as nursery:
                    nursery.start_soon(self._converse, process, control, orders)
                    nursery.start_soon(self._watch, process, row)
                    try:
                        await process.wait()
                    finally:
                        with trio.CancelScope(shield=True):
                            process.kill()
                            await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                self.pid = None
                self._serves(False)
                self._reaper.own.discard(process.pid)
            assert process.returncode is not None
            return process.returncode
        finally:
            self._row = None
            self._table.retire(row)

    async def _start(self, row: int) -> tuple[trio.Process, trio.SocketStream, Orders]:
        """Start a process; where it counts and what it has to be told depends on its row."""
        orders, descriptors = self._orders(row)
        with ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            with self._reaper.starting():
                process = await trio.lowlevel.open_process(
                    # Modules come from where ours came from, and not from the working directory.
                    [sys.executable, "-P", "-m", "trio_lb.supervise.worker", str(theirs.fileno())],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *descriptors],
                    start_new_session=True,  # the terminal's signals are the supervisor's affair
                )
                self._reaper.own.add(process.pid)
            self.pid = process.pid
            self.starts += 1
            theirs.close()
            stack.pop_all()
        ours.setblocking(False)
        return process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)), orders

    async def _converse(
        self, process: trio.Process, control: trio.SocketStream, orders: Orders
    ) -> None:
        """Tell it what to do, and for whom, and when to drain; kill it if it can't."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, control)
            try:
                await control.send_all(orders.line())
                told: list[int] = []
                while not self._draining.is_set():
                    news = self._news = trio.Event()
                    if told == self._absent:
                        await news.wait()
                    else:
                        told = self._absent
                        await control.send_all(stand_in(told))
                await control.send_all(DRAIN)
            except trio.BrokenResourceError:
                return  # it has died, which is noticed otherwise
            await trio.sleep(self._drain + MARGIN)
            log.error("worker %d (pid %d) did not drain: killing it", self.number, process.pid)
            process.kill()

    async def _hear(self, control: trio.SocketStream) -> None:
        if await Lines(control).next() == READY:
            self.ready.set()
            self._serves(True)

    def _serves(self, serving: bool) -> None:
        self.serving = serving
        self._absent = []
        self._share()

    async def _watch(self, process: trio.Process, row: int) -> None:
        """Kill the process when its heart stops, or does not begin to beat."""
        started = looked = trio.current_time()
        while True:
            await trio.sleep(SILENCE / 8)
            now, before = trio.current_time(), looked
            looked = now
            if now - before > SILENCE / 4:
                continue  # it was us, or the machine, that stood still: let it beat first
            age = self._table.table.heartbeat_age(row, now)
            most = SILENCE
            if age is None:
                age, most = now - started, START
            if age > most:
                log.error(
                    "worker %d (pid %d) gave no sign of life for %.1f s: killing it",
                    self.number, process.pid, age,
                )  # fmt: skip
                process.kill()
                return


def _how(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
