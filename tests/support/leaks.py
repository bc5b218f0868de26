"""Whether something was left behind: tasks, file descriptors, and what exchanges hold."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio_lb


def held() -> tuple[int, list[str]]:
    """Returns how many tasks live, and what this process's descriptors are open on (Linux).

    Sockets and pipes are all called the same.
    """
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}").partition(":[")[0])
        except FileNotFoundError:  # the listing's own
            continue
    return trio.lowlevel.current_statistics().tasks_living, sorted(names)


def held_at_first() -> tuple[int, list[str]]:
    """Like `held`, without what earlier tests have left to the garbage collector.

    It would go at any time, and be missed in the end.
    """
    gc.collect()
    return held()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails unless after the block there are the same tasks and descriptors as before it."""
    before = held_at_first()
    try:
        yield
    finally:
        assert held() == before


def assert_even(balancer: trio_lb.LoadBalancer) -> None:
    """Fails unless all that the exchanges of a balancer took, and counted, was given back.

    None may be under way.
    """
    assert balancer.statistics().total_active == 0
    if plain := balancer._service._plain:
        assert plain.readiness.under_way == 0
        assert plain.fast_path.borrowed == 0
        watched = len(balancer._service._proxy.acceptors) + len(plain.upstreams)
        assert len(plain.readiness) == watched
