"""A bound in real time, where Trio's clock stands still or its loop gets no turn."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fail_after_real(seconds: float) -> Iterator[None]:
    """Interrupts what the main thread does in the block once it has lasted so long, Trio or not.

    Again and again, as something may catch the first interruption. Compiled code notices it when
    it calls Python code next; code that never does so can't be interrupted.

    Raises:
        AssertionError: from wherever the main thread was, so perhaps in a group; or at the end of
            the block, if it has not come out of that.
    """
    late = AssertionError(f"not over after {seconds} real seconds")
    interrupted = False

    def interrupt(*_: object) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        raise late

    before = signal.signal(signal.SIGALRM, interrupt)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # of tests/support/time_limit.py
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)
    if interrupted:
        raise late
