"""Children of the test process that do one thing and end."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def bare_fork() -> int:
    """`os.fork`, also beside the thread that a test process of `pytest -n` has (harmless here)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def fork(task: Callable[[], bool]) -> int:
    """Run `task` in a child; its pid. The child's exit code is 0 if the task returned True."""
    child = bare_fork()
    if child:
        return child
    # Nothing of pytest may run in a child, whatever happens in it.
    good = False
    try:
        sys.settrace(None)  # of coverage, which would get nothing from here
        good = task()
    finally:
        os._exit(0 if good else 1)


def in_children(count: int, task: Callable[[int], bool]) -> None:
    """Run `task(number)` in forked children, all at one time; all must return True."""
    gate, opener = os.pipe()

    def begin(number: int) -> bool:
        os.close(opener)
        os.read(gate, 1)  # ends when the parent closes the other end
        return task(number)

    children = [fork(lambda: begin(number)) for number in range(count)]  # noqa: B023
    os.close(opener)
    os.close(gate)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count
