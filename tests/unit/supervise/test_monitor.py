"""When a monitor starts a worker again; what it says to one is in tests/process."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from trio_lb.plan import Algorithm
from trio_lb.pool import NoRoom, SharedTable
from trio_lb.supervise.messages import SetMembers
from trio_lb.supervise.monitor import WorkerMonitor, WorkersKeepDying
from trio_lb.supervise.orphans import OrphanReaper
from trio_lb.supervise.processes import Interpreters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

    from trio_lb.supervise.messages import Start


class Scripted(WorkerMonitor):
    """Its processes live for so many seconds each, then end with exit code 9; no process at all.

    They are ready if the first one was, and let in if that was said.
    """

    def __init__(self, table: SharedTable, *lives: float | Exception) -> None:
        starter = Interpreters(OrphanReaper())
        members = SetMembers("servers", 1, Algorithm.ROUND_ROBIN, (), ())
        super().__init__(
            0, table, starter, self._no_start, members, 1.0, OrphanReaper(), _nothing, _nothing
        )
        self.lives = list(lives)
        self.began: list[float] = []

    @staticmethod
    def _no_start(row: int) -> tuple[Start, list[int]]:
        raise AssertionError(row)

    async def _run(self) -> int:
        self.began.append(round(trio.current_time(), 3))
        life = self.lives.pop(0)
        if isinstance(life, Exception):
            raise life
        self._was_ready = self.ready.is_set()
        self._was_let_in = self._was_ready and self._accepting
        await trio.sleep(life)
        return 9


def _nothing() -> None:
    pass


@pytest.fixture
def table() -> Iterator[SharedTable]:
    table = SharedTable(1, 1)
    yield table
    table.close()


async def test_pauses_grow_with_quick_deaths(table: SharedTable, autojump_clock: MockClock) -> None:
    monitor = Scripted(table, *[0.0] * 10, 60.0, 0.0, 0.0, 1000.0)
    monitor.ready.set()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.keep)
        await trio.sleep(500)
        nursery.cancel_scope.cancel()
    times = [began - start for began in monitor.began]
    pauses = [round(b - a, 1) for a, b in pairwise(times)]
    assert pauses[:10] == [0.2, 0.5, 1, 2, 5, 10, 30, 30, 30, 30]
    assert pauses[10:] == [60, 0.2, 0.5]  # one that lived: at once, and from the beginning


@pytest.mark.parametrize("reason", [OSError(24, "Too many open files"), NoRoom("no row is left")])
async def test_it_gives_up_where_none_was_ever_ready(
    reason: Exception, table: SharedTable, autojump_clock: MockClock
) -> None:
    monitor = Scripted(table, 0.1, 0.1, 0.1, 0.1, reason)
    with pytest.raises(
        WorkersKeepDying, match="5 workers in a row failed to start: the last one could not"
    ):
        await monitor.keep()
    assert not monitor.lives


async def test_a_user_who_may_not_run_workers_is_told(
    table: SharedTable, autojump_clock: MockClock
) -> None:
    monitor = Scripted(table, *[PermissionError(13, "Permission denied", "/root/python")] * 5)
    with pytest.raises(
        WorkersKeepDying, match=r"'/root/python' \(as user \d+, who must be able to"
    ):
        await monitor.keep()


async def test_also_those_that_die_late_count_if_they_were_never_ready(
    table: SharedTable, autojump_clock: MockClock
) -> None:
    monitor = Scripted(table, *[6.0] * 10)
    with pytest.raises(
        WorkersKeepDying, match=r"5 workers in a row failed to start: the last one ended"
    ):
        await monitor.keep()
    assert len(monitor.began) == 5


async def test_those_that_take_very_long_for_it_need_not_be_so_many(
    table: SharedTable, autojump_clock: MockClock
) -> None:
    monitor = Scripted(table, *[30.0] * 10)
    start = trio.current_time()
    with pytest.raises(WorkersKeepDying, match="2 workers in a row failed to start"):
        await monitor.keep()
    assert 60 <= trio.current_time() - start < 61


async def test_one_that_was_ready_once_is_started_for_ever_but_not_at_once(
    table: SharedTable, autojump_clock: MockClock
) -> None:
    class Later(Scripted):
        """Only its first process was ready."""

        async def _run(self) -> int:
            code = await super()._run()
            self._was_ready = len(self.began) == 1
            return code

    monitor = Later(table, *[6.0] * 20)
    monitor.ready.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.keep)
        await trio.sleep(200)
        nursery.cancel_scope.cancel()
    pauses = [round(b - a - 6, 1) for a, b in pairwise(monitor.began)]
    assert pauses[:8] == [0, 0.2, 0.5, 1, 2, 5, 10, 30]


@pytest.mark.parametrize("lives", [(0.0, 0.0), (0.0, OSError(24, "Too many open files"))])
async def test_a_drain_ends_a_pause(
    lives: tuple[float | Exception, ...], table: SharedTable, autojump_clock: MockClock
) -> None:
    monitor = Scripted(table, *lives)
    with trio.fail_after(0.3):
        async with trio.open_nursery() as nursery:

            async def keep() -> None:
                assert await monitor.keep()  # there was nothing in hand

            nursery.start_soon(keep)
            await trio.sleep(0.25)
            monitor.drain()
    assert len(monitor.began) == 2


@pytest.mark.parametrize("let_in", [True, False])
async def test_one_that_drains_is_not_replaced(
    let_in: bool, table: SharedTable, autojump_clock: MockClock
) -> None:
    monitor = Scripted(table, 1.0)
    monitor.ready.set()
    if let_in:
        monitor.accept()
    async with trio.open_nursery() as nursery:

        async def keep() -> None:
            # Its exit code says that it has cut something; it can't have without clients.
            assert await monitor.keep() is not let_in

        nursery.start_soon(keep)
        await trio.sleep(0.5)
        monitor.drain()
    assert len(monitor.began) == 1


async def test_none_is_started_after_a_drain(table: SharedTable, autojump_clock: MockClock) -> None:
    monitor = Scripted(table)
    monitor.drain()
    assert await monitor.keep()
