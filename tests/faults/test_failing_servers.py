"""Servers that fail quickly draw no more requests for it (RELIABILITY row 37).

Answers with 5xx, answers that are cut, and connections that are closed without an answer; under
all algorithms that go by load or time, on both paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.load import Load
from tests.support.paths import both_paths

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Script

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover

SERVICE = 0.05  # seconds
WELL = besides_checks(scripts.delayed(SERVICE, scripts.answer(b"ok")))


async def share(algorithm: str, fast_path: bool, script: Script, method: str = "GET") -> float:
    """What a server of three gets that answers by `script`, after a millisecond."""
    bad = besides_checks(scripts.delayed(0.001, script))
    async with (
        open_backend(bad) as failing,
        open_backend(WELL) as one,
        open_backend(WELL) as two,
        open_balancer(
            failing.url, one.url, two.url, algorithm=algorithm, fast_path=fast_path
        ) as balancer,
    ):
        load = Load(balancer.addresses[0], clients=9, method=method, body=b"x")
        await load.run(1)
        before = [len(asked(each)) for each in (failing, one, two)]
        await load.run(1.5)
        shares = [
            len(asked(each)) - early
            for each, early in zip((failing, one, two), before, strict=True)
        ]
        assert states(balancer) == ["alive"] * 3
        return shares[0] / sum(shares)


@both_paths
@pytest.mark.parametrize("algorithm", ["lc", "wlc", "lrt", "wlrt"])
async def test_row_37_a_5xx_in_no_time_draws_no_more_than_a_share(
    algorithm: str, fast_path: bool, autojump_clock: MockClock
) -> None:
    assert 0 < await share(algorithm, fast_path, scripts.answer(b"", 500)) < 0.37


@both_paths
@pytest.mark.parametrize("algorithm", ["lc", "wlc", "lrt", "wlrt"])
async def test_row_37_nor_do_answers_that_are_cut(
    algorithm: str, fast_path: bool, autojump_clock: MockClock
) -> None:
    script = scripts.cut_body(b"x" * 100, 10_000, reset=True)
    assert 0 < await share(algorithm, fast_path, script) < 0.37


@both_paths
@pytest.mark.parametrize("algorithm", ["lc", "wlc", "lrt", "wlrt"])
async def test_row_37_nor_does_a_server_that_closes_without_an_answer(
    algorithm: str, fast_path: bool, autojump_clock: MockClock
) -> None:
    """One client's POST: it is nobody else's to say whose failure that is."""
    script = scripts.raw(b"", reset=False)
    assert 0 < await share(algorithm, fast_path, script, "POST") < 0.37
