"""The table: blocks that are refused, slots, results, states, several workers on one block."""

from __future__ import annotations

import math
import mmap
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tables import table_memory, table_of
from trio_lb.fast.table import ALIVE, DEAD, DRAINING, Failures, Table, format_table, table_size

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = 64


def test_size_is_header_servers_and_rows() -> None:
    addresses = 4 * 8192 * 4
    row = 3 * LINE + 3 * (LINE + 128 * 8 + LINE) + addresses
    assert table_size(3) == 2 * LINE + 3 * (LINE + 4 * LINE) + row
    assert table_size(3, 16) == 2 * LINE + 3 * (LINE + 4 * LINE) + 16 * row
    assert table_size(3, 17) == 2 * LINE + 3 * (LINE + 4 * LINE) + 17 * (row + 3 * LINE)


@pytest.mark.parametrize(("servers", "rows"), [(0, 1), (-1, 1), (65537, 1), (1, 0), (1, 4097)])
def test_sizes_out_of_range_are_refused(servers: int, rows: int) -> None:
    with pytest.raises(ValueError, match="a table has 1 to"):
        table_size(servers, rows)
    with pytest.raises(ValueError, match="a table has 1 to"):
        format_table(bytearray(100), servers, rows)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 1, "does not begin like one"),
        (8, 1, "its layout is 1, this program's is 11"),
        (12, 0, "contradicts itself"),
        (12, 3, "contradicts itself"),
        (16, 0, "contradicts itself"),
        (16, 2, "contradicts itself"),
        (24, 255, "contradicts itself"),
    ],
)
def test_wrong_header_is_refused(offset: int, value: int, message: str) -> None:
    memory = table_memory(2)
    Table(memory)
    memory[offset] = value
    with pytest.raises(ValueError, match=message):
        Table(memory)


def test_block_of_other_byte_order_is_refused() -> None:
    memory = table_memory(2)
    memory[0:8] = memory[0:8][::-1]
    with pytest.raises(ValueError, match="does not begin like one"):
        Table(memory)


def test_cut_off_block_is_refused() -> None:
    memory = memoryview(table_memory(2))
    for length in (0, 2 * LINE - 1):
        with pytest.raises(ValueError, match=r"only \d+ bytes long"):
            Table(memory[:length])
    for length in (2 * LINE, len(memory) - mmap.PAGESIZE, table_size(2) - 1):
        with pytest.raises(ValueError, match="cut off after"):
            Table(memory[:length])
        with pytest.raises(ValueError, match=r"needs \d+ bytes"):
            format_table(memory[:length], 2)
    assert len(Table(memory[: table_size(2)])) == 0


def test_block_off_its_alignment_is_refused() -> None:
    memory = memoryview(table_memory(2))
    with pytest.raises(ValueError, match="not aligned"):
        Table(memory[8:])
    with pytest.raises(ValueError, match="not aligned"):
        format_table(memory[8:], 1)


def test_read_only_memory_is_refused() -> None:
    with pytest.raises(BufferError):
        Table(bytes(table_size(1)))


@pytest.mark.parametrize("row", [-1, 2])
def test_row_that_is_not_there_is_refused(row: int) -> None:
    with pytest.raises(ValueError, match="2 rows, none with number"):
        Table(table_memory(1, 2), row)


def test_a_table_is_not_made_over_another_one() -> None:
    memory = table_memory(1)
    Table(memory).add()
    with pytest.raises(ValueError, match="in this memory already"):
        format_table(memory, 1)
    assert len(Table(memory)) == 1


def test_memory_stays_while_a_table_uses_it() -> None:
    memory = table_memory(1)
    table = Table(memory)
    with pytest.raises(BufferError):
        memory.close()
    del table
    memory.close()


def test_servers_are_added_up_to_the_capacity() -> None:
    table = Table(table_memory(2))
    assert (table.capacity, table.rows, table.row, len(table)) == (2, 1, 0, 0)
    assert [table.add(65535), table.add(2, 7)] == [0, 1]
    assert (len(table), table.alive) == (2, 2)
    assert table.read(1)[7:] == (2, 7)
    with pytest.raises(ValueError, match="full"):
        table.add()


@pytest.mark.parametrize("weight", [0, 65536])
def test_weight_out_of_range_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match="a weight is 1 to 65535"):
        Table(table_memory(1)).add(weight)


def test_maximum_that_can_not_be_counted_is_refused() -> None:
    table = Table(table_memory(1))
    with pytest.raises(ValueError, match="a maximum is below 16777215"):
        table.add(1, 16777215)
    assert table.add(1, 16777214) == 0
    with pytest.raises(ValueError, match="a maximum is below 16777215"):
        table.adjust(0, 1, 2**24)
    with pytest.raises(ValueError, match="a weight is 1 to 65535"):
        table.adjust(0, 0, 1)
    assert table.read(0)[7:] == (1, 16777214)


@pytest.mark.parametrize(
    "use",
    [
        lambda table, slot: table.state(slot),
        lambda table, slot: table.move(slot, ALIVE, DEAD),
        lambda table, slot: table.acquire(slot),
        lambda table, slot: table.release(slot),
        lambda table, slot: table.connections(slot),
        lambda table, slot: table.answered(slot, 1.0, 1.0),
        lambda table, slot: table.completed(slot, 1, 1),
        lambda table, slot: table.failed(slot, 1.0, 0.1),
        lambda table, slot: table.life(slot),
        lambda table, slot: Failures(table).add(slot, 1, 1.0, 1, False),
        lambda table, slot: table.read(slot),
        lambda table, slot: table.quantile(slot, 0.5),
    ],
)
@pytest.mark.parametrize("slot", [-1, 2, 2**31, 2**32, -(2**32)])
def test_slot_out_of_range_is_refused(use: Callable[[Table, int], object], slot: int) -> None:
    table = Table(table_memory(3))  # there is room for slot 2, but no server in it
    table.add()
    table.add()
    with pytest.raises(IndexError, match="no server in slot"):
        use(table, slot)


def test_maximum_is_never_exceeded() -> None:
    table = table_of([1], [2])
    assert [table.acquire(0) for _ in range(4)] == [True, True, False, False]
    table.release(0)
    assert [table.acquire(0), table.acquire(0)] == [True, False]
    assert table.connections(0) == 2


def test_release_without_acquire_raises_and_changes_nothing() -> None:
    table = table_of([1])
    with pytest.raises(RuntimeError, match="no connection of slot 0 is held in row 0"):
        table.release(0)
    assert (table.connections(0), table.read(0)[1]) == (0, 0)


def test_workers_share_slots_and_states_and_their_rows_add_up() -> None:
    memory = table_memory(2, 3)
    first = Table(memory, 0)
    for _ in range(2):
        first.add(1, 2)
    second, third = Table(memory, 1), Table(memory, 2)
    assert [first.acquire(1), second.acquire(1), third.acquire(1)] == [True, True, False]
    with pytest.raises(RuntimeError, match="held in row 2"):
        third.release(1)
    first.completed(1, 10, 1)
    second.completed(1, 20, 2)
    third.failed(1, 1.0, 0.1)
    for table in (first, second, third):
        assert table.connections(1) == 2
        assert table.read(1) == (ALIVE, 2, 2, 1, 30, 3, None, 1, 2)
    assert second.move(1, ALIVE, DEAD)
    assert (first.state(1), first.alive, first.state(0)) == (DEAD, 1, ALIVE)
    first.answered(0, 1.0, 0.001)
    third.answered(0, 1.0, 0.1)
    assert first.quantile(0, 0.5) == pytest.approx(0.001, rel=0.125)
    assert first.quantile(0, 1.0) == pytest.approx(0.1, rel=0.125)
    assert first.quantile(0, 1.0) == second.quantile(0, 1.0)


def test_last_one_alive_is_kept_on_demand() -> None:
    table = table_of([1, 1, 1])
    assert table.move(0, ALIVE, DRAINING)
    assert table.move(1, ALIVE, DEAD, among=(0, 1, 2))
    assert not table.move(2, ALIVE, DEAD, among=(0, 1, 2))
    assert (table.alive, table.state(2)) == (1, ALIVE)
    assert table.move(2, ALIVE, DEAD)
    assert table.alive == 0


def test_server_stays_while_another_process_takes_out_one_unless_it_is_the_last() -> None:
    memory = table_memory(2, 3)
    table = Table(memory)
    table.add()
    table.add()
    memory[124:128] = (2).to_bytes(4, sys.byteorder)  # claimed by row 1
    assert not table.move(0, ALIVE, DEAD, among=(0, 1))
    table.retire(2)
    assert not table.move(0, ALIVE, DEAD, among=(0, 1))
    assert table.move(1, ALIVE, DEAD)
    table.move(1, DEAD, ALIVE)
    table.retire(1)
    assert table.move(0, ALIVE, DEAD, among=(0, 1))


def test_state_changes_only_from_what_was_named() -> None:
    table = table_of([1, 1])
    assert table.move(0, ALIVE, DEAD)
    assert not table.move(0, ALIVE, DEAD)
    assert not table.move(0, DRAINING, ALIVE)
    assert (table.alive, table.state(0)) == (1, DEAD)
    assert table.move(0, DEAD, ALIVE)
    assert table.alive == 2
    for state in (0, 4):
        with pytest.raises(ValueError, match="no such state"):
            table.move(0, state, ALIVE)
        with pytest.raises(ValueError, match="no such state"):
            table.move(0, ALIVE, state)


def test_coming_back_forgets_the_average() -> None:
    table = table_of([1])
    life = table.life(0)
    table.answered(0, 1.0, 0.1)
    table.move(0, ALIVE, DEAD)
    assert table.life(0) == life
    table.move(0, DEAD, ALIVE)
    assert table.life(0) == life + 1
    assert table.read(0)[6] is None
    assert table.quantile(0, 0.5) == pytest.approx(0.1, rel=0.125)


def average(table: Table) -> float:
    value = table.read(0)[6]
    assert value is not None
    return value


def test_average_weighs_samples_by_time_and_not_by_number() -> None:
    table = table_of([1])
    table.answered(0, 10.0, 1.0)
    for _ in range(1000):
        table.answered(0, 10.0, 9.0)  # within the same millisecond: only the first one counts
    assert average(table) == 1.0
    table.answered(0, 10.0 + 2.048, 9.0)  # one half-life later
    assert average(table) == 5.0
    table.answered(0, 60.0, 1.0)  # after a long pause
    assert average(table) == pytest.approx(1.0, rel=1e-6)


def test_average_survives_timestamps_of_another_process_ahead_of_ours() -> None:
    table = table_of([1])
    table.answered(0, 10.005, 1.0)
    table.answered(0, 10.0, 9.0)
    assert average(table) == 1.0


@pytest.mark.parametrize("now", [-1.0, math.nan, math.inf])
def test_what_is_no_time_is_refused(now: float) -> None:
    with pytest.raises(ValueError, match="not a time"):
        table_of([1]).answered(0, now, 1.0)


@pytest.mark.parametrize("seconds", [-1e-9, math.nan])
def test_what_is_no_response_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="not a response time"):
        table_of([1]).answered(0, 1.0, seconds)


def test_response_times_beyond_the_scale_are_moved_to_its_ends() -> None:
    table = table_of([1, 1])
    table.answered(0, 1.0, math.inf)
    table.answered(1, 1.0, 0.0)
    assert table.quantile(0, 1.0) == pytest.approx(2**32 / 1e6, rel=0.125)
    assert table.quantile(1, 1.0) == pytest.approx(1e-6, abs=0.51e-6)
    assert table.read(1)[6] == 1e-6


@given(
    st.lists(st.floats(4e-6, 3600.0), min_size=1, max_size=40),
    st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]),
)
def test_quantiles_are_within_their_bound(times: list[float], q: float) -> None:
    table = table_of([1])
    for seconds in times:
        table.answered(0, 1.0, seconds)
    exact = sorted(times)[math.ceil(q * len(times)) - 1]
    assert table.quantile(0, q) == pytest.approx(exact, rel=0.1251)


def test_quantiles_never_fall() -> None:
    table = table_of([1])
    for power in range(32):
        table.answered(0, 1.0, 2**power / 1e6)
    values = [table.quantile(0, q / 100) or 0.0 for q in range(1, 101)]
    assert all(one <= other for one, other in pairwise(values))
    assert values[-1] == pytest.approx(2**31 / 1e6, rel=0.1251)


@pytest.mark.parametrize("q", [0.0, -0.5, 1.01, math.nan])
def test_what_is_no_quantile_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="a quantile is above 0"):
        table_of([1]).quantile(0, q)
