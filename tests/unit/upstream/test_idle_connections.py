"""Idle connections to a server as the fast path keeps them: which goes, and what that costs."""

from __future__ import annotations

import errno
import os
import random
import resource
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from tests.support.built import FAST_PATH, WITHOUT
from tests.support.waiting import eventually
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.transport import SocketTransport
from trio_lb.upstream.watched_pool import WatchedPool

if not FAST_PATH:
    pytest.skip(WITHOUT, allow_module_level=True)

from trio_lb.fast.loop import Epoll, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 4000


class Idle:
    """So many idle connections; the end of `far[n]` is that of the n-th oldest."""

    def __init__(self, count: int) -> None:
        self.deadlines = Deadlines()
        self.readiness = Epoll()
        self.server = Server(
            self.readiness,
            slot=0,
            member=None,
            name=b"a",
            prefix=b"",
            limit=count,
            dial=lambda: None,
        )
        self.near: list[SocketTransport] = []
        self.far: list[socket.socket] = []
        for number in range(count):
            near, far = socket.socketpair()
            near.setblocking(False)
            self.near.append(SocketTransport(near, "unix:", self.deadlines))
            self.far.append(far)
            self.server.keep_transport(self.near[-1], float(number))

    def open(self) -> list[SocketTransport]:
        """Those that are open, youngest first."""
        return [each for each in reversed(self.near) if each.fileno() >= 0]

    def close(self) -> None:
        """Closes all of it."""
        self.server.close()
        self.readiness.close()
        for each in self.far:
            each.close()


@contextmanager
def idle(count: int) -> Iterator[Idle]:
    """So many idle connections, until the end of the block."""
    connections = Idle(count)
    try:
        yield connections
    finally:
        connections.close()


@pytest.mark.parametrize("seed", range(10))
async def test_any_of_them_may_go(seed: int) -> None:
    """The others stay, and are taken in the same order."""
    chosen = random.Random(seed)
    with idle(12) as connections:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.readiness.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            for number in chosen.sample(range(12), 7):
                connections.far[number].close()
                await eventually(lambda n=number: connections.near[n].fileno() < 0)  # type: ignore[misc]
                assert connections.server.idle == len(connections.open())
            nursery.cancel_scope.cancel()
        connections.server.expire(4.0, 0.0)
        left = connections.open()
        assert connections.server.idle == len(left)
        assert all(each.fileno() >= 0 for each in left)
        for each in left:
            assert connections.server.take_transport(0.0) is each
            each.close()
        assert connections.server.take_transport(0.0) is None


async def test_the_end_of_one_costs_the_same_wherever_it_is() -> None:
    """A server that restarts ends thousands at a time, and the oldest have all others above."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MANY + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        oldest = min([await _cpu_time_to_go(1) for _ in range(3)])
        youngest = min([await _cpu_time_to_go(-1) for _ in range(3)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert oldest < 1.7 * youngest


async def _cpu_time_to_go(step: int) -> float:
    """CPU seconds in which all go, the oldest (1) or the youngest (-1) first."""
    with idle(MANY) as connections:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.readiness.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            for far in connections.far[::step]:
                far.close()
            began = time.process_time()
            while connections.server.idle:
                await trio.lowlevel.checkpoint()
            took = time.process_time() - began
            nursery.cancel_scope.cancel()
    return took


async def test_who_does_not_wait_costs_nothing() -> None:
    """Deadlines are looked through ten times a second: only waits are among them."""
    with idle(50) as connections:
        assert len(connections.deadlines) == 0
        [transport] = connections.near[:1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.wait_readable, 1e9)
            nursery.start_soon(transport.wait_writable, 1e9)
            await trio.testing.wait_all_tasks_blocked()
            assert len(connections.deadlines) == 1
            nursery.cancel_scope.cancel()
        assert len(connections.deadlines) == 0


async def test_one_that_can_not_be_watched_is_closed_and_the_log_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where there are no more epoll watches, or no memory in the kernel."""

    class FullServer:
        def keep_transport(self, _: object, __: float) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    near, far = socket.socketpair()
    transport = SocketTransport(near, "unix:", Deadlines())
    with far:
        WatchedPool(cast("Any", {0: FullServer()}), 10).put(0, transport, 0.0)
        assert transport.fileno() == -1
    (text,) = caplog.messages
    assert text.startswith("out of epoll watches: ")
