"""What response times promise about who gets how much, in minutes of simulated traffic."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.tables import table_of
from tests.support.traffic import Traffic
from trio_lb.fast.table import (
    ALIVE,
    DEAD,
    LeastConnections,
    LeastResponseTime,
    Selection,
    WeightedLeastConnections,
    WeightedLeastResponseTime,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


SERVICES: dict[str, Callable[[random.Random, float], float]] = {
    "even": lambda _, mean: mean,
    "noisy": lambda rng, mean: rng.expovariate(1 / mean),
}


def traffic(
    means: Sequence[float],
    clients: int,
    *,
    kind: str = "noisy",
    algorithm: type[Selection] = LeastResponseTime,
    weights: Sequence[int] | None = None,
    slow_until: float = 0.0,
) -> Traffic:
    """Servers with these mean response times; the first takes 10 s until `slow_until`."""
    rng = random.Random(7)
    table = table_of(weights or [1] * len(means))

    def service(slot: int, started: float) -> float:
        if slot == 0 and started < slow_until:
            return 10.0
        return SERVICES[kind](rng, means[slot])

    return Traffic(table, algorithm(table), clients, service)


@pytest.mark.parametrize("algorithm", [LeastResponseTime, WeightedLeastResponseTime])
@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize(("clients", "mean"), [(1, 0.01), (1, 0.1), (20, 0.05)])
def test_server_slow_once_has_its_share_again_a_minute_later(
    algorithm: type[Selection], kind: str, clients: int, mean: float
) -> None:
    run = traffic([mean] * 5, clients, kind=kind, algorithm=algorithm, slow_until=1.0)
    run.run(60.0)
    picks = run.run(60.0)
    assert min(picks[slot] for slot in range(5)) >= 0.1 * picks.total()


def test_server_that_stays_slow_is_tried_seldom_and_by_one_request_at_a_time() -> None:
    run = traffic([0.05] * 5, 20, slow_until=math.inf)
    run.run(60.0)
    run.most_active.clear()
    picks = run.run(120.0)
    assert 2 <= picks[0] <= 10
    assert run.most_active[0] == 1


@pytest.mark.parametrize("clients", [1, 20])
def test_clearly_faster_server_gets_clearly_more_but_not_all(clients: int) -> None:
    run = traffic([0.02, 0.04, 0.04], clients)
    run.run(10.0)
    picks = run.run(60.0)
    assert picks[0] > 2.5 * max(picks[1], picks[2])
    assert min(picks[1], picks[2]) > 0.05 * picks.total()


def test_nobody_is_stampeded() -> None:
    run = traffic([0.05] * 5, 20)
    run.run(60.0)
    assert max(run.most_active.values()) <= 8


def test_server_that_comes_back_is_tried_by_one_and_then_gets_as_many_as_the_others() -> None:
    run = traffic([0.05] * 4, 40, kind="even")
    run.table.move(0, ALIVE, DEAD)
    run.run(5.0)
    run.table.move(0, DEAD, ALIVE)
    run.most_active.clear()
    picks = run.run(5.0)
    assert picks[0] == pytest.approx(picks.total() / 4, rel=0.05)
    assert max(run.most_active.values()) <= 14


def test_weights_divide_response_times() -> None:
    run = traffic([0.02, 0.02], 40, algorithm=WeightedLeastResponseTime, weights=[3, 1])
    run.run(10.0)
    picks = run.run(30.0)
    assert picks[0] / picks[1] == pytest.approx(3.0, rel=0.2)


# A server that fails faster than the others answer

LEAST = [
    LeastConnections,
    WeightedLeastConnections,
    LeastResponseTime,
    WeightedLeastResponseTime,
]


def failing(
    algorithm: type[Selection], clients: int, kind: str = "even", since: float = 0.0
) -> Traffic:
    """The first of three answers 500 within a millisecond, from some time on; others take 50."""
    run = traffic([0.05] * 3, clients, kind=kind, algorithm=algorithm)
    answer = run.service
    run.service = lambda slot, now: answer(slot, now) if slot or now < since else 0.001
    run.status = lambda slot, now: 200 if slot or now < since else 500
    return run


@pytest.mark.parametrize("algorithm", LEAST)
@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("clients", [1, 5, 20])
@pytest.mark.parametrize("since", [0.0, 3.0])
def test_failing_fast_draws_no_more_than_a_share(
    algorithm: type[Selection], kind: str, clients: int, since: float
) -> None:
    run = failing(algorithm, clients, kind, since)
    run.run(since + 4.0)
    picks = run.run(10.0)
    assert 0 < picks[0] / picks.total() < 0.37


@pytest.mark.parametrize("algorithm", LEAST)
def test_equals_are_preferred_to_who_has_just_failed(algorithm: type[Selection]) -> None:
    """And who has failed is tried again before long."""
    run = failing(algorithm, 1, since=10.0)
    run.run(10.0)
    picks = run.run(30.0)
    assert 0 < picks[0] / picks.total() < 0.25


@pytest.mark.parametrize("algorithm", LEAST)
def test_who_has_failed_has_its_share_again_when_it_is_well(algorithm: type[Selection]) -> None:
    run = failing(algorithm, 20)
    run.run(5.0)
    run.status = lambda slot, now: 200
    run.service = lambda slot, now: 0.05
    run.run(10.0)
    picks = run.run(10.0)
    assert picks[0] / picks.total() == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("algorithm", LEAST)
def test_where_all_fail_alike_all_have_their_share(algorithm: type[Selection]) -> None:
    run = failing(algorithm, 5)
    run.status = lambda slot, now: 500
    run.service = lambda slot, now: 0.01
    run.run(2.0)
    picks = run.run(5.0)
    assert [picks[slot] / picks.total() for slot in range(3)] == pytest.approx(
        [1 / 3] * 3, abs=0.05
    )


@pytest.mark.parametrize("status", [400, 404, 429, 501, 505])
def test_what_the_request_has_caused_is_an_answer_like_any_other(status: int) -> None:
    table = table_of([1, 1])
    table.answered(1, 1.0, 0.1)
    table.answered(0, 1.0, 0.001, status)
    assert table.read(0)[6] == pytest.approx(0.001)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_failing_answer_counts_as_the_others_average_at_least(status: int) -> None:
    table = table_of([1] * 4)
    table.move(3, ALIVE, DEAD)
    for slot, seconds in ((0, 0.01), (1, 0.1), (2, 0.3), (3, 9.0)):
        table.answered(slot, 1.0, seconds)
    table.answered(0, 1.0 + 2.048, 0.001, status)  # half of what it was, half of 0.2 s
    assert table.read(0)[6] == pytest.approx(0.105)
    table.answered(2, 1.0 + 2.048, 0.001, status)  # the others are faster: it stays as it is
    assert table.read(2)[6] == pytest.approx(0.3)
    table.answered(1, 1.0 + 2.048, 5.0, status)  # it has taken longer than usual
    assert table.read(1)[6] == pytest.approx(2.55)
    assert table.quantile(0, 0.5) == pytest.approx(0.001, rel=0.125)  # what it really took


def test_a_failing_answer_says_nothing_of_how_long_answers_take() -> None:
    table = table_of([1, 1])
    table.answered(0, 1.0, 0.001, 500)
    table.answered(1, 1.0, 0.1)
    table.failed(0, 2.0, 0.001)
    assert table.read(0)[6] is None


@pytest.mark.parametrize("days", [1, 20, 30, 45])
def test_a_failure_is_not_held_against_a_server_for_weeks(days: int) -> None:
    table = table_of([1, 1])
    table.answered(0, 1.0, 0.001, 500)
    now = 1.0 + days * 86400
    selection = LeastConnections(table)
    picks = Counter(selection.pick(now) for _ in range(4))
    assert picks == {0: 2, 1: 2}
