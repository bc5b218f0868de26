"""The bound in real time interrupts code that would never end, and is heard."""

from __future__ import annotations

import signal

import pytest
import trio
import trio.testing

from tests.support.real_time import fail_after_real


def stay_busy() -> None:
    while True:
        pass


def test_a_busy_loop_is_interrupted() -> None:
    with pytest.raises(AssertionError, match=r"0\.2 real seconds"), fail_after_real(0.2):
        stay_busy()


async def test_a_busy_task_is_interrupted(mock_clock: trio.testing.MockClock) -> None:
    async def busy() -> None:
        while True:
            trio.current_time()

    with pytest.RaisesGroup(AssertionError), fail_after_real(0.2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)


def test_an_interruption_that_gets_lost_is_repeated_and_told_at_the_end() -> None:
    lost = []

    def lose_it() -> None:
        try:
            stay_busy()
        except AssertionError as error:
            lost.append(error)

    def lose_it_twice() -> None:
        with fail_after_real(0.2):
            lose_it()
            lose_it()

    with pytest.raises(AssertionError, match="not over"):
        lose_it_twice()
    assert len(lost) == 2


def test_who_is_in_time_is_left_alone() -> None:
    before, outer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with fail_after_real(60):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(outer[0], abs=30)
    assert signal.getsignal(signal.SIGALRM) is before
