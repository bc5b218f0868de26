"""The shared table as its owner and its workers use it: slots, rows, clocks, pools over it."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trio_lb.fast.table import ALIVE, DEAD, Table
from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.pool import Counters, Members, NoRoom, ServerPool, SharedTable, State, attach

if TYPE_CHECKING:
    from collections.abc import Iterator


def server(port: int, weight: int = 1, most: int = 0) -> ServerPlan:
    address = Address(host="127.0.0.1", port=port)
    return ServerPlan(name=str(port), address=address, weight=weight, max_connections=most)


@pytest.fixture
def shared() -> Iterator[SharedTable]:
    shared = SharedTable(4, 3)
    yield shared
    shared.close()


def pool_on(shared: SharedTable, ports: list[int], table: Table | None = None) -> ServerPool:
    servers = [server(port) for port in ports]
    slots = shared.assign(servers)
    return ServerPool(Members(servers, slots), Algorithm.ROUND_ROBIN, table or shared.table)


def picked_ports(pool: ServerPool, count: int) -> list[int]:
    ports = []
    for _ in range(count):
        reservation = pool.reserve(1.0)
        assert reservation is not None
        with reservation:
            assert reservation.member in pool.members
            ports.append(reservation.server.address.port)
    return ports


SCRIPT = """
import sys
from trio_lb.pool import attach
table = attach(int(sys.argv[1]), 2)
assert table.acquire(0)
table.enter(77, 5.0)
"""


@pytest.mark.parametrize("with_memfd", [True, False])
def test_another_program_joins_by_the_inherited_descriptor(
    with_memfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    shared = SharedTable(1, 2)
    shared.assign([server(1)])
    assert os.fstat(shared.fd).st_nlink == 0
    assert stat.S_IMODE(os.fstat(shared.fd).st_mode) & 0o077 in (0, 0o077)  # memfd: 0777
    assert not os.get_inheritable(shared.fd)
    command = [sys.executable, "-c", SCRIPT, str(shared.fd)]
    subprocess.run(command, check=True, pass_fds=[shared.fd])
    assert shared.table.connections(0) == 1
    assert shared.table.process(2) == (77, 1)
    assert shared.retire(2) == 1
    shared.close()


def test_what_is_no_table_is_refused() -> None:
    fd = os.memfd_create("other")
    os.ftruncate(fd, 4096)
    with pytest.raises(ValueError, match="not a table"):
        attach(fd, 1)
    os.close(fd)
    with pytest.raises(ValueError, match="1 to 4096 rows"):
        SharedTable(1, 4096)


def test_descriptor_is_closed_when_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def refuse(fd: int, size: int) -> None:
        given.append(fd)
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(OSError, match="no memory"):
        SharedTable(1, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(*given)


def test_server_that_stays_keeps_slot_state_and_counters(shared: SharedTable) -> None:
    assert shared.assign([server(1), server(2, 2, 5), server(3)]) == (0, 1, 2)
    table = shared.table
    table.move(1, ALIVE, DEAD)
    table.completed(1, 10, 1)
    servers = [server(4), server(3), server(2, 7, 9)]
    assert shared.assign(servers) == (3, 2, 1)
    assert table.read(1) == (DEAD, 0, 1, 0, 10, 1, None, 2, 5)  # weight and maximum too, until
    shared.adjust(servers, (3, 2, 1))
    assert table.read(1) == (DEAD, 0, 1, 0, 10, 1, None, 7, 9)
    assert shared.servers[1].weight == 7
    assert table.state(3) == ALIVE
    assert {slot: one.address.port for slot, one in shared.servers.items()} == {
        0: 1, 1: 2, 2: 3, 3: 4,
    }  # fmt: skip


def test_same_address_twice_has_two_slots(shared: SharedTable) -> None:
    assert shared.assign([server(1), server(1)]) == (0, 1)
    assert shared.assign([server(1)]) == (0,)
    assert shared.assign([server(1), server(1), server(1)]) == (0, 1, 2)


def test_without_room_nothing_is_changed(shared: SharedTable) -> None:
    shared.assign([server(1, 5), server(2)])
    with pytest.raises(NoRoom, match="room for 4 servers"):
        shared.assign([server(1, 6), server(3), server(4), server(5)])
    assert (len(shared.table), shared.table.read(0)[7]) == (2, 5)
    shared.free(1)
    assert shared.assign([server(1, 6), server(3), server(4), server(5)]) == (0, 1, 2, 3)
    assert [shared.table.generation(slot) for slot in range(3)] == [1, 2, 1]


def test_slot_is_freed_when_no_worker_knows_of_it(shared: SharedTable) -> None:
    shared.assign([server(1), server(2)])
    row = shared.lease()
    worker = attach(shared.fd, row)
    worker.acquire(1)
    worker.completed(1, 1, 1)
    worker.answered(1, 1.0, 0.5)
    with pytest.raises(RuntimeError, match="still has connections"):
        shared.free(1)
    worker.release(1)
    before = shared.table.work()
    shared.free(1)
    assert (shared.table.work(row), shared.table.work()) == ((0, 1), before)
    shared.retire(row)
    with pytest.raises(IndexError):
        shared.table.state(1)
    shared.assign([server(1), server(3)])
    assert shared.table.read(1) == (ALIVE, 0, 0, 0, 0, 0, None, 1, 0)
    assert shared.table.quantile(1, 0.5) is None


def test_rows_are_leased_and_come_back(shared: SharedTable) -> None:
    assert [shared.lease() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(NoRoom, match="rows for 3 workers"):
        shared.lease()
    shared.retire(2)
    assert shared.lease() == 2


def test_only_the_owner_retires_and_never_itself(shared: SharedTable) -> None:
    with pytest.raises(ValueError, match="row 0 can't be retired in row 0"):
        shared.retire(0)
    with pytest.raises(ValueError, match="row 2 can't be retired in row 1"):
        attach(shared.fd, 1).retire(2)
    with pytest.raises(IndexError, match="no row 4: there are 4"):
        shared.retire(4)


def test_what_a_dead_worker_served_stays_and_what_it_had_in_hand_goes(shared: SharedTable) -> None:
    pool = pool_on(shared, [1])
    worker = attach(shared.fd, shared.lease())
    others = attach(shared.fd, shared.lease())
    for table in (worker, others):
        table.enter(100 + table.row, 1.0)
        assert table.acquire(0)
        assert table.acquire(0)
        table.answered(0, 1.0, 0.25)
        table.completed(0, 100, 10)
        table.failed(0, 1.0, 0.1)
        table.client_opened()
        table.client_opened()
        table.client_closed()
        for status in (0, 200, 204, 503, 999):
            table.request_ended(status)
    assert shared.retire(worker.row) == 2
    (counters,) = pool.snapshot()
    assert (counters.active, counters.served, counters.failed) == (2, 2, 2)
    assert (counters.bytes_received, counters.bytes_sent) == (200, 20)
    assert counters.p50_s == pytest.approx(0.25, rel=0.125)
    clients = Counters(shared.table).read()
    assert (clients.connections, clients.connections_total, clients.requests) == (1, 4, 10)
    assert clients.classes == (2, 0, 4, 0, 0, 4)
    (gone,), (alive,), (archive,) = map(pool.snapshot, (worker.row, others.row, 0))
    assert (gone.active, gone.served, gone.p50_s) == (0, 0, None)
    assert (alive.active, alive.served, alive.failed) == (2, 1, 1)
    assert (archive.active, archive.served, archive.failed) == (0, 1, 1)
    assert Counters(shared.table).read(worker.row).connections_total == 0
    assert Counters(shared.table).read(0).classes == (1, 0, 2, 0, 0, 2)
    assert Counters(shared.table).connections == 0  # of the owner's process
    assert shared.table.process(worker.row) == (0, 1)
    assert shared.table.process(others.row) == (102, 1)


def test_maximum_lowered_below_what_is_there_lets_nobody_in_until_it_fell(
    shared: SharedTable,
) -> None:
    shared.assign([server(1, 1, 3)])
    worker = attach(shared.fd, 1)
    assert [worker.acquire(0) for _ in range(4)] == [True, True, True, False]
    shared.adjust([server(1, 1, 2)], [0])
    outcomes = []
    for _ in range(3):
        worker.release(0)
        outcomes.append(worker.acquire(0))
    assert outcomes == [False, True, True]
    shared.adjust([server(1)], [0])
    assert worker.acquire(0)


def test_pools_of_old_and_new_profile_pick_only_their_own(shared: SharedTable) -> None:
    old = pool_on(shared, [1, 2, 3], attach(shared.fd, 1))
    new = pool_on(shared, [4, 3, 1], attach(shared.fd, 2))
    assert picked_ports(old, 3) == [1, 2, 3]
    assert sorted(picked_ports(new, 3)) == [1, 3, 4]
    assert set(picked_ports(old, 30)) == {1, 2, 3}
    assert set(picked_ports(new, 30)) == {1, 3, 4}
    one, two, three = old.members
    assert new.mark_down(three, "refused")
    assert [new.state(each) for each in new.members] == [State.ALIVE, State.DEAD, State.ALIVE]
    assert [old.state(each) for each in old.members] == [State.ALIVE, State.ALIVE, State.DEAD]
    assert not new.mark_down(two, "refused")  # it is none of its members
    assert (new.alive_count, old.alive_count, len(new)) == (2, 2, 3)
    assert [one.index for one in new.snapshot()] == [0, 1, 2]
    assert new.snapshot()[1].served == 0
    reservation = new.reserve(1.0, [new.members[0], three])
    assert reservation is not None
    with reservation:
        assert (reservation.member, one in new.members) == (new.members[2], True)
        reservation.completed(1, 1)
    assert [one.served for one in new.snapshot()] == [0, 0, 1]
    assert [one.served for one in old.snapshot()] == [1, 0, 0]


def test_last_one_alive_is_that_of_the_pool(shared: SharedTable) -> None:
    pool_on(shared, [1, 2])
    new = pool_on(shared, [3])
    assert not new.mark_down(new.members[0], "timed out", keep_last=True)
    assert new.mark_down(new.members[0], "refused")
    assert shared.table.alive == 2


def test_pool_with_other_slots_than_servers_is_refused(shared: SharedTable) -> None:
    slots = shared.assign([server(1), server(2)])
    for wrong in ((0,), (0, 0), (*slots, 2)):
        with pytest.raises(ValueError, match="2 servers can't have the slots"):
            Members([server(1), server(2)], wrong)


def test_clocks_with_different_zeros_mean_the_same_time(shared: SharedTable) -> None:
    shared.assign([server(1)])
    early, late = attach(shared.fd, 1, epoch=-50.0), attach(shared.fd, 2, epoch=1e6)
    early.answered(0, 10.0 - 50.0, 1.0)
    late.answered(0, 10.0 + 2.048 + 1e6, 9.0)  # one half-life later
    assert shared.table.read(0)[6] == pytest.approx(5.0, rel=1e-3)  # times are whole milliseconds
    early.enter(1, -30.0)
    assert late.heartbeat_age(1, 1e6 + 23.5) == 3.5
    assert early.epoch == -50.0
    with pytest.raises(ValueError, match="not a time"):
        late.beat(5.0)


def test_heartbeats(shared: SharedTable) -> None:
    table = attach(shared.fd, 1)
    assert shared.table.heartbeat_age(1, 1.0) is None
    table.enter(123, 0.0)
    assert (shared.table.process(1), shared.table.heartbeat_age(1, 0.0)) == ((123, 1), 0.0)
    table.beat(10.0)
    assert shared.table.heartbeat_age(1, 12.5) == 2.5
    assert shared.table.heartbeat_age(1, 9.0) == 0.0  # a moment ahead of ours
    assert shared.table.heartbeat_age(2, 12.5) is None
    shared.retire(1)
    assert shared.table.heartbeat_age(1, 12.5) is None
    table.enter(124, 13.0)
    assert shared.table.process(1) == (124, 2)
