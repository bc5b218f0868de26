"""How long tests wait; waiting, under a stopped virtual clock, for what a worker thread does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


#: Seconds after which what is waited for will not come any more: many times what it takes, as a
#: machine may be busy with much else, and less than a drain may take, unless a test sets its time.
PATIENCE: Final = 25.0


async def eventually(condition: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Wait until a condition holds, without Trio's clock.

    Raises:
        AssertionError: it does not hold after so many real seconds.
    """
    give_up = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up, "what was waited for did not happen"
        await trio.to_thread.run_sync(time.sleep, 0.001)


async def until_next_deadline_in(seconds: float) -> None:
    """Wait until the first of all deadlines is so many virtual seconds away: a task sleeps now."""

    def left() -> float:
        return trio.lowlevel.current_statistics().seconds_to_next_deadline

    await eventually(lambda: abs(left() - seconds) < 1e-6)
