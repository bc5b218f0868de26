"""Keeping one worker: a process that is replaced when it dies, hangs, or has to give way.

One monitor for each worker of a generation. A worker that dies soon after its start, or before it
could accept clients, is started again after growing pauses.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import TrioLBError
from trio_lb.net.deadlines import loop_clock
from trio_lb.observe.catalogue import values_of
from trio_lb.observe.statistics import WorkerStatistics
from trio_lb.pool import Counters, NoRoom

from .descriptors import send_descriptors
from .messages import (
    Accept,
    BadMessage,
    CoverFor,
    Drain,
    MembersSet,
    Ready,
    SetMembers,
    control_of_worker,
)
from .processes import how_ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.observe.statistics import WorkerState
    from trio_lb.pool import SharedTable

    from .messages import Control, Start, ToSupervisor, ToWorker
    from .orphans import OrphanReaper
    from .processes import Process, Starter

log = logging.getLogger("trio_lb.supervisor")

#: A worker whose loop has not turned for so long (seconds) is killed.
SILENCE = 4.0

#: Seconds that a worker may take until it could accept clients.
START = 30.0

#: A worker that lived shorter than this (seconds) died at its start, as it were.
_QUICK = 5.0

#: Pauses before the next start, by quick deaths in a row; the last one stays.
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

#: So many deaths in a row, or fewer of them that have taken so long (seconds), with none that could
#: accept clients before, mean that no worker can be started here.
_HOPELESS = 5
_PATIENCE = 60.0

#: Seconds that a worker has beyond the drain time before it is killed.
MARGIN = 5.0


class WorkersKeepDying(TrioLBError):  # noqa: N818
    """Workers die before they are ready, again and again."""


class WorkerMonitor:
    """One worker of a generation, whichever process that is at the moment.

    Args:
        number: of the worker, from 0.
        table: whose rows the processes get.
        starter: starts them.
        start: makes a process's first message from its row, and says which descriptors it gets.
        members: of the pool, as that message has them.
        drain: seconds that a drain may take.
        reaper: must know which processes are not its business.
        share: called when `serving` changes.
        taken: called when it has taken members that it was sent.

    Attributes:
        ready: set once a process of it could accept clients, for good.
        serving: there is one that does.
        pid: of the present process, None while there is none.
        starts: processes started so far.
    """

    def __init__(
        self,
        number: int,
        table: SharedTable,
        starter: Starter,
        start: Callable[[int], tuple[Start, list[int]]],
        members: SetMembers,
        drain: float,
        reaper: OrphanReaper,
        share: Callable[[], None],
        taken: Callable[[], None],
    ) -> None:
        self.number = number
        self.ready = trio.Event()
        self.serving = False
        self.pid: int | None = None
        self.starts = 0
        self._table = table
        self._starter = starter
        self._start_of = start
        self._drain = drain
        self._reaper = reaper
        self._share = share
        self._taken = taken
        self._members = members
        #: Those from which the present process may be picking: what it has said that it has taken,
        #: and what it was sent since.
        self._picked_from: list[SetMembers] = []
        self._accepting = False
        self._draining = trio.Event()
        #: Of the present process, or the last one: whether it could accept clients, whether it was
        #: told to, for whom else it does, whether it has closed its end of the socket, and why it
        #: was killed.
        self._was_ready = False
        self._was_let_in = False
        self._sent: list[int] = []
        self._is_through = False
        self._killed_for: str | None = None
        self._row: int | None = None
        self._absent: list[int] = []
        self._changed = trio.Event()

    def __repr__(self) -> str:
        state = "draining" if self._draining.is_set() else "ready" if self.ready.is_set() else "new"
        process = f"pid {self.pid}, {state}, {self.starts} starts"
        return f"<WorkerMonitor of worker {self.number}: {process}>"

    def accept(self) -> None:
        """Have the worker accept clients, as soon as it can, and those that replace it."""
        self._accepting = True
        self._changed.set()

    def drain(self) -> None:
        """Have the worker drain and not be replaced; one that accepts nobody yet ends at once."""
        self._draining.set()
        self._changed.set()

    def cover_for(self, absent: list[int]) -> None:
        """Have the worker accept for these others as well, until it is sent otherwise."""
        self._absent = absent
        self._changed.set()

    def set_members(self, members: SetMembers) -> None:
        """Have the worker serve from these members, and those processes that replace it."""
        self._members = members
        self._changed.set()

    @property
    def up_to_date(self) -> bool:
        """No process of it sends requests to who is not among the newest members."""
        return not self.serving or self._picked_from == [self._members]

    def may_pick(self, table_slot: int) -> bool:
        """Whether its process may send requests to the server with a slot."""
        return any(table_slot in members.slots for members in self._picked_from)

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
        return replace(
            worker, **values_of(WorkerStatistics, Counters(table).read(row), table.work(row))
        )

    async def keep(self) -> bool:
        """Keep a worker until it has drained.

        Returns:
            True if it finished everything that it had in hand.

        Raises:
            WorkersKeepDying: no process of this worker ever became ready.
        """
        quick, began = 0, trio.current_time()
        while not self._draining.is_set():
            started = trio.current_time()
            self._was_ready = self._was_let_in = self._is_through = False
            self._killed_for = None
            try:
                code = await self._run()
                how = self._how(code)
            except (OSError, NoRoom) as exc:
                code, how = 0, f"could not be started: {exc}"
                if isinstance(exc, PermissionError):
                    how += f" (as user {os.geteuid()}, who must be able to run it)"
            if self._draining.is_set():
                return code == 0 or not self._was_let_in
            lived = trio.current_time() - started
            quick = 0 if self._was_ready and lived >= _QUICK else quick + 1
            if not self.ready.is_set() and self._is_hopeless(quick, began):
                raise WorkersKeepDying(
                    f"{quick} workers in a row failed to start: the last one {how}"
                )
            pause = _PAUSES[min(quick, len(_PAUSES) - 1)]
            after = f" in {pause:g} s" if pause else ""
            log.error("worker %d %s: starting a new one%s", self.number, how, after)
            with trio.move_on_after(pause):
                await self._draining.wait()
        return True

    def _how(self, code: int) -> str:
        """How the process ended, for logs."""
        if self._killed_for is not None:
            return self._killed_for
        return how_ended(code)

    def _is_hopeless(self, deaths: int, began: float) -> bool:
        took = trio.current_time() - began
        return deaths >= _HOPELESS or (deaths >= 2 and took >= _PATIENCE)

    async def _run(self) -> int:
        """One process, from its start to its end; its exit code.

        Cancelling kills it at once.

        Raises:
            OSError, NoRoom: it can't be started.
        """
        self._row = row = self._table.lease()
        try:
            process, sock = await self._start()
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            try:
                async with stream, trio.open_nursery() as nursery:
                    control = control_of_worker(stream)
                    nursery.start_soon(self._hear, control, process)
                    nursery.start_soon(self._tell, control, sock, process, row)
                    nursery.start_soon(self._watch, process, row)
                    nursery.start_soon(self._end_in_time, process)
                    try:
                        code = await process.wait()
                    finally:
                        with trio.CancelScope(shield=True):
                            process.kill()
                            await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                self.pid = None
                self._picked_from = []
                self._serves(False)
                self._reaper.own.discard(process.pid)
            return code
        finally:
            self._row = None
            self._table.retire(row)

    async def _start(self) -> tuple[Process, socket.socket]:
        """Start a process; the socket to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await self._starter.start(theirs)
            except BaseException:
                ours.close()
                raise
        self.pid = process.pid
        self.starts += 1
        ours.setblocking(False)
        return process, ours

    async def _tell(
        self,
        control: Control[ToWorker, ToSupervisor],
        sock: socket.socket,
        process: Process,
        row: int,
    ) -> None:
        """Send it what there is to say, until the drain; once that has begun, nothing."""
        if self._draining.is_set():  # there may be no sockets any more
            return
        start, descriptors = self._start_of(row)
        self._picked_from = [self._members]
        try:
            send_descriptors(sock, descriptors)
        except ConnectionError:  # it has died, which is noticed otherwise
            return
        except OSError as exc:
            self._kill(process, f"could not be passed its sockets ({exc})")
            return
        with suppress(trio.BrokenResourceError):  # the same
            await control.send(start)
            self._sent = []
            while not self._draining.is_set():
                changed = self._changed = trio.Event()
                message = self._next_message()
                if message is None:
                    await changed.wait()
                    continue
                await control.send(message)
                if self._was_let_in and not self.serving:
                    self._serves(True)
            await control.send(Drain())

    def _next_message(self) -> ToWorker | None:
        """What it has to be sent next, if anything; counts as sent."""
        taken_all = len(self._picked_from) == 1  # that it was sent
        if self._was_ready and taken_all and self._picked_from != [self._members]:
            self._picked_from.append(self._members)
            return self._members
        if self._was_ready and self._accepting and not self._was_let_in:
            self._was_let_in = True
            return Accept()
        if self.serving and self._sent != self._absent:
            self._sent = self._absent
            return CoverFor(tuple(self._sent))
        return None

    async def _hear(self, control: Control[ToWorker, ToSupervisor], process: Process) -> None:
        """Take in what it says; one that can't be understood is killed."""
        try:
            while (message := await control.receive()) is not None:
                match message:
                    case Ready():
                        self._was_ready = True
                        self.ready.set()
                        self._changed.set()
                    case MembersSet():
                        self._took(message.version)
            self._is_through = True
        except BadMessage as exc:
            self._kill(process, f"sent what is no message ({exc})")

    def _took(self, version: int) -> None:
        self._picked_from = [each for each in self._picked_from if each.version >= version]
        self._changed.set()
        self._taken()

    async def _end_in_time(self, process: Process) -> None:
        """Kill it if it drains for too long, or at once if nobody can be in its hands."""
        await self._draining.wait()
        if self._was_let_in:
            await trio.sleep(self._drain + MARGIN)
            log.error("worker %d (pid %d) did not drain: killing it", self.number, process.pid)
        process.kill()

    def _serves(self, serving: bool) -> None:
        self.serving = serving
        self._absent = []
        self._share()

    async def _watch(self, process: Process, row: int) -> None:
        """Kill the process when its heart stops, or when it does not come to accept clients."""
        # Where it was us, or the machine, that stood still, that time is no silence.
        clock = loop_clock()
        started = heard = clock.lived()
        while True:
            await trio.sleep(SILENCE / 8)
            now = clock.lived()
            age = self._table.table.heartbeat_age(row, clock())
            if age is not None:
                heard = max(heard, now - age)
            if self._is_through and self._draining.is_set():
                continue  # Python's own end takes a while on a busy machine
            if age is not None and now - heard > SILENCE:
                self._kill(process, f"did not respond for {now - heard:.1f} s")
            elif not self._was_ready and now - started > START:
                self._kill(process, f"was not ready after {now - started:.1f} s")
            else:
                continue
            return

    def _kill(self, process: Process, why: str) -> None:
        self._killed_for = why
        log.error("worker %d (pid %d) %s: killing it", self.number, process.pid, why)
        process.kill()
