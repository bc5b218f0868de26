"""ServerPool and Reservation."""

from __future__ import annotations

import pytest

from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.pool import Member, ServerPool, State, StateChange


def servers(*maxima: int) -> list[ServerPlan]:
    return [
        ServerPlan(
            name=str(3001 + slot),
            address=Address(host="127.0.0.1", port=3001 + slot),
            weight=slot + 1,
            max_connections=most,
        )
        for slot, most in enumerate(maxima)
    ]


def pool_of(*maxima: int) -> ServerPool:
    return ServerPool.private(servers(*maxima), Algorithm.ROUND_ROBIN)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_reservation_names_the_server_and_gives_its_slot_back(algorithm: Algorithm) -> None:
    known = servers(0, 1)
    pool = ServerPool.private(known, algorithm)
    for _ in range(10):
        reservation = pool.reserve(1.0, [pool.members[0]])
        assert reservation is not None
        with reservation as entered:
            assert entered is reservation
            assert (entered.member, entered.server) == (pool.members[1], known[1])
            assert pool.reserve(1.0, [pool.members[0]]) is None
        assert [counters.active for counters in pool.snapshot()] == [0, 0]


def test_slot_is_given_back_whatever_happens_and_only_once() -> None:
    pool = pool_of(0)
    other = pool.reserve(1.0)
    reservation = pool.reserve(1.0)
    assert reservation is not None
    with pytest.raises(KeyboardInterrupt), reservation:
        raise KeyboardInterrupt
    with reservation:
        pass
    assert pool.snapshot()[0].active == 1
    assert repr(reservation) == "<Reservation of 3001: given back>"
    assert repr(other) == "<Reservation of 3001: held>"


def test_a_slot_of_a_certain_server() -> None:
    pool = pool_of(0, 1)
    reservation = pool.reserve_at(pool.members[1])
    assert reservation is not None
    with reservation:
        assert reservation.member is pool.members[1]
        assert pool.reserve_at(pool.members[1]) is None
    assert [counters.active for counters in pool.snapshot()] == [0, 0]
    assert pool.mark_down(pool.members[1], "test")
    assert pool.reserve_at(pool.members[1]) is None
    assert pool.reserve_at(Member(2, servers(0)[0])) is None


def test_results_are_counted() -> None:
    pool = pool_of(0, 5)
    reservation = pool.reserve(1.0, [pool.members[0]])
    assert reservation is not None
    with reservation:
        reservation.failed(1.0, 0.1)
        reservation.failed(1.0, 0.1)
        reservation.answered(1.25, 0.25, 200)
        reservation.completed(1000, 10)
        reservation.failed(1.0, 0.1)
        idle, busy = pool.snapshot()
    assert (idle.index, idle.state, idle.active, idle.served, idle.failed) == (
        0, State.ALIVE, 0, 0, 0,
    )  # fmt: skip
    assert (idle.response_time_s, idle.p50_s, idle.p99_s) == (None, None, None)
    assert (busy.index, busy.active, busy.served, busy.failed) == (1, 1, 1, 3)
    assert (busy.bytes_received, busy.bytes_sent) == (1000, 10)
    assert (busy.weight, busy.max_connections) == (2, 5)
    assert busy.response_time_s == 0.25
    assert busy.p50_s == busy.p99_s == pytest.approx(0.25, rel=0.125)


def test_changes_of_state_are_told_once_with_their_reason() -> None:
    told: list[StateChange] = []
    known = servers(0, 0)
    pool = ServerPool.private(known, Algorithm.ROUND_ROBIN, notify=told.append)
    assert pool.mark_down(pool.members[1], "connection refused")
    assert not pool.mark_down(pool.members[1], "connection refused")
    assert (pool.state(pool.members[1]), pool.alive_count, len(pool)) == (State.DEAD, 1, 2)
    assert pool.mark_up(pool.members[1], "passed its check")
    assert not pool.mark_up(pool.members[1], "passed its check")
    assert (pool.state(pool.members[1]), pool.alive_count) == (State.ALIVE, 2)
    assert told == [
        StateChange(
            member=pool.members[1],
            old=State.ALIVE,
            new=State.DEAD,
            reason="connection refused",
        ),
        StateChange(
            member=pool.members[1], old=State.DEAD, new=State.ALIVE, reason="passed its check"
        ),
    ]


def test_last_server_stays_for_soft_failures_and_goes_for_hard_ones() -> None:
    pool = pool_of(0, 0)
    assert pool.mark_down(pool.members[0], "timed out", keep_last=True)
    assert not pool.mark_down(pool.members[1], "timed out", keep_last=True)
    assert pool.reserve(1.0) is not None
    assert pool.mark_down(pool.members[1], "refused")
    assert pool.alive_count == 0
    assert pool.reserve(1.0) is None


def test_reservations_outlive_the_state_and_the_pool() -> None:
    pool = pool_of(1)
    reservation = pool.reserve(1.0)
    assert reservation is not None
    pool.mark_down(pool.members[0], "refused")
    with reservation:
        pool.mark_up(pool.members[0], "checked")
        assert pool.reserve(1.0) is None  # still full
        del pool
        reservation.completed(1, 1)


def test_server_that_is_not_in_the_table_is_refused() -> None:
    pool = pool_of(0)
    nobody = Member(1, servers(0)[0])
    with pytest.raises(IndexError):
        pool.state(nobody)
    with pytest.raises(IndexError):
        pool.why_out(nobody)


def test_pool_without_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="a table has 1 to"):
        pool_of()
