"""When a keeper starts a worker again; what it says to one is in tests/process."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from trio_lb.balance import NoRoom, SharedTable
from trio_lb.supervise.keeper import Keeper, WorkersKeepDying
from trio_lb.supervise.orphans import OrphanReaper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

    from trio_lb.supervise.orders import Orders


class Scripted(Keeper):
    """Its processes live for so many seconds each, then end with exit code 9; no process at all."""

    def __init__(self, table: SharedTable, *lives: float | Exception) -> None:
        super().__init__(0, table, self._no_orders, 1.0, OrphanReaper(), lambda: None)
        self.lives = list(lives)
        self.began: list[float] = []

    @staticmethod
    def _no_orders(row: int) -> tuple[Orders, list[int]]:
        raise AssertionError(row)

    async def _run(self) -> int:
        self.began.append(round(trio.current_time(), 3))
        life = self.lives.pop(0)
        if isinstance(life, Exception):
            raise life
        await trio.sleep(life)
        return 9


@pytest.fixture
def table() -> Iterator[SharedTable]:
    table = SharedTable(1, 1)
    yield table
    table.close()


async def test_pauses_grow_with_quick_deaths(table: SharedTable, autojump_clock: MockClock) -> None:
    keeper = Scripted(table, *[0.0] * 10, 60.0, 0.0, 0.0, 1000.0)
    keeper.ready.set()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.keep)
        await trio.sleep(500)
        nursery.cancel_scope.cancel()
    times = [began - start for began in keeper.began]
    pauses = [round(b - a, 1) for a, b in pairwise(times)]
    assert pauses[:10] == [0.2, 0.5, 1, 2, 5, 10, 30, 30, 30, 30]
    assert pauses[10:] == [60, 0.2, 0.5]  # one that lived: at once, and from the beginning


@pytest.mark.parametrize("reason", [OSError(24, "Too many open files"), NoRoom("no row is left")])
async def test_it_gives_up_where_none_was_ever_ready(
    reason: Exception, table: SharedTable, autojump_clock: MockClock
) -> None:
    keeper = Scripted(table, 0.1, 0.1, 0.1, 0.1, reason)
    with pytest.raises(WorkersKeepDying, match="5 workers in a row died at their start, could not"):
        await keeper.keep()
    assert not keeper.lives


@pytest.mark.parametrize("lives", [(0.0, 0.0), (0.0, OSError(24, "Too many open files"))])
async def test_a_drain_ends_a_pause(
    lives: tuple[float | Exception, ...], table: SharedTable, autojump_clock: MockClock
) -> None:
    keeper = Scripted(table, *lives)
    with trio.fail_after(0.3):
        async with trio.open_nursery() as nursery:

            async def keep() -> None:
                assert await keeper.keep()  # there was nothing in hand

            nursery.start_soon(keep)
            await trio.sleep(0.25)
            keeper.drain()
    assert len(keeper.began) == 2


async def test_one_that_drains_is_not_replaced(
    table: SharedTable, autojump_clock: MockClock
) -> None:
    keeper = Scripted(table, 1.0)
    keeper.drain()
    assert not await keeper.keep()  # its exit code says that it has cut something
