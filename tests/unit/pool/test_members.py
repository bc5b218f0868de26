"""Members of a pool, and their swap between two picks."""

from __future__ import annotations

import pytest

from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.pool import Member, Members, NoRoom, ServerPool, SharedTable, State

ONE, TWO, THREE = (
    ServerPlan(name=str(port), address=Address(host="127.0.0.1", port=port)) for port in (1, 2, 3)
)
PATH = ServerPlan(name="a", address=Address(host="127.0.0.1", port=1, path="/a"), send_proxy="v1")


def test_a_member_is_known_by_its_slot_and_its_address() -> None:
    before = Members([ONE, TWO], [4, 2], 1)
    after = Members([TWO, THREE], [2, 4], 2)
    assert [member in after for member in before] == [False, True]
    assert (before[0].table_slot, before.at(2), len(after)) == (4, before[1], 2)
    assert [each.server for each in after] == [TWO, THREE]
    assert Member(7, ONE) not in after
    with pytest.raises(KeyError):
        after.at(7)
    assert repr(after) == "<Members, version 2: 2 servers>"


def test_what_is_true_of_any_of_them() -> None:
    assert (Members([ONE], [0]).confined, Members([ONE], [0]).send_proxy) == (False, False)
    assert (Members([ONE, PATH], [0, 1]).confined, Members([PATH], [0]).send_proxy) == (True, True)


@pytest.mark.parametrize("slots", [(0,), (0, 0), (0, 1, 2)])
def test_every_server_has_a_slot_of_its_own(slots: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2 servers can't have the slots"):
        Members([ONE, TWO], slots)


class Changing:
    """A pool whose servers come and go."""

    def __init__(self, *servers: ServerPlan, algorithm: Algorithm = Algorithm.ROUND_ROBIN) -> None:
        self.shared = SharedTable(4, 1)
        self.shared.close()
        members = Members(servers, self.shared.assign(servers))
        self.pool = ServerPool(members, algorithm, self.shared.table)
        self.algorithm = algorithm

    def change(self, *servers: ServerPlan) -> Members:
        """Other servers from now on; those that were there before."""
        before = self.pool.members
        members = Members(servers, self.shared.assign(servers), before.version + 1)
        self.shared.adjust(servers, members.table_slots)
        self.pool.set_members(members, self.algorithm)
        return before

    def picked(self, count: int) -> list[str]:
        found = []
        for _ in range(count):
            reservation = self.pool.reserve(1.0)
            assert reservation is not None
            with reservation:
                found.append(reservation.server.name)
        return found


def test_turns_go_on_where_they_were() -> None:
    changing = Changing(ONE, TWO, THREE)
    assert changing.picked(2) == ["1", "2"]
    changing.change(ONE, TWO)
    assert changing.picked(1) == ["1"]
    changing.change(ONE, TWO, THREE)
    assert changing.picked(4) == ["2", "3", "1", "2"]


def test_nobody_is_favoured_by_changes_however_many() -> None:
    changing = Changing(ONE, TWO, THREE)
    counts = dict.fromkeys("123", 0)
    for number in range(120):
        changing.change(*([ONE, TWO, THREE] if number % 2 else [THREE, TWO, ONE]))
        counts[changing.picked(1)[0]] += 1
    assert counts == {"1": 40, "2": 40, "3": 40}


def test_weighted_servers_keep_what_they_are_owed() -> None:
    def weighted(*weights: int) -> list[ServerPlan]:
        return [
            ServerPlan(name=each.name, address=each.address, weight=weight)
            for each, weight in zip((ONE, TWO, THREE), weights, strict=False)
        ]

    changing = Changing(*weighted(5, 1, 1), algorithm=Algorithm.WEIGHTED_ROUND_ROBIN)
    found: list[str] = []
    for _ in range(70):
        changing.change(*weighted(5, 1, 1))
        found += changing.picked(1)
    assert [found.count(name) for name in "123"] == [50, 10, 10]
    # Who comes anew, again and again, is owed nothing: neither a burst nor less than its share.
    found = []
    for _ in range(70):
        changing.change(*weighted(5, 1))
        changing.change(*weighted(5, 1, 1))
        found += changing.picked(14)
    shares = [found.count(name) / len(found) for name in "12"]
    assert shares[0] == pytest.approx(5 / 7, abs=0.08)
    assert shares[1] == pytest.approx(1 / 7, abs=0.08)


def test_a_reservation_of_who_is_removed_holds_its_slot() -> None:
    changing = Changing(ONE, TWO)
    pool = changing.pool
    reservation = pool.reserve(1.0)
    assert reservation is not None
    gone = reservation.member
    with reservation:
        before = changing.change(TWO)
        assert gone not in pool.members
        assert pool.reserve_at(gone) is None
        assert not pool.mark_down(gone, "refused")
        assert pool.suspect(gone, reservation.life, 1.0, 1, confirmed=True) is None
        reservation.answered(1.0, 0.5, 200)
        with pytest.raises(RuntimeError, match="still has connections"):
            changing.shared.free(gone.table_slot)
    changing.shared.free(gone.table_slot)
    changing.change(TWO, THREE)
    new = pool.members.at(gone.table_slot)
    assert (new.server, gone in pool.members) == (THREE, False)
    # What is still told of the old server is not the new one's.
    reservation.completed(1, 1)
    reservation.failed(1.0)
    assert [(each.served, each.failed) for each in pool.snapshot()] == [(0, 0), (0, 0)]
    assert pool.reserve(1.0, list(before)) is not None  # who was tried is not who has its slot now


def test_states_and_averages_stay() -> None:
    changing = Changing(ONE, TWO)
    pool = changing.pool
    pool.mark_down(pool.members[0], "refused")
    changing.change(THREE, TWO, ONE)
    states = [pool.state(each) for each in pool.members]
    assert states == [State.ALIVE, State.ALIVE, State.DEAD]
    assert pool.why_out(pool.members[2]) == "refused"


def test_another_algorithm_takes_over() -> None:
    changing = Changing(ONE, TWO)
    changing.algorithm = Algorithm.WEIGHTED_ROUND_ROBIN
    changing.change(ONE, TWO)
    changing.algorithm = Algorithm.LEAST_CONNECTIONS
    changing.change(ONE, TWO)
    held = [changing.pool.reserve(1.0) for _ in range(4)]
    assert sorted(each.server.name for each in held if each) == ["1", "1", "2", "2"]


def test_no_room_changes_nothing() -> None:
    changing = Changing(ONE, TWO)
    many = [
        ServerPlan(name=str(port), address=Address(host="127.0.0.1", port=port))
        for port in range(10, 14)
    ]
    with pytest.raises(NoRoom):
        changing.change(*many)
    assert changing.picked(2) == ["1", "2"]
