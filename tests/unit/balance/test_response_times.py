"""What response times promise about who gets how much, in minutes of simulated traffic."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from tests.support.tables import table_of
from tests.support.traffic import Traffic
from trio_lb._select import LeastResponseTime, Selection, WeightedLeastResponseTime
from trio_lb._table import ALIVE, DEAD

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
