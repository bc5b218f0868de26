"""An epoll beside Trio's loop: it waits by itself while events come, and never in others' way."""

import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest
import trio
import trio.testing

from tests.support.built import PORTABLE, WITHOUT
from trio_lb._upstreams import Server
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.transport import SocketTransport

if PORTABLE:
    pytest.skip(WITHOUT, allow_module_level=True)

from trio_lb._epoll import Epoll

#: Far more than there is room for in one batch.
EVENTS = 200

#: Makes an event and waits until it was seen, again and again; in another process, as a thread
#: would run at the times at which this one lets it.
ONE_BY_ONE = """
import socket, sys, time
for fd in sys.argv[1:]:
    time.sleep(0.0005)  # so that one is handled before the next
    with socket.socket(fileno=int(fd)) as far:
        far.shutdown(socket.SHUT_WR)
        far.recv(1)
"""


class Passes(trio.abc.Instrument):
    """Counts how often Trio's loop goes round."""

    def __init__(self) -> None:
        self.number = 0

    def after_io_wait(self, timeout: float) -> None:
        self.number += 1


class Watching:
    """Idle connections that readiness watches: whatever comes on one closes it."""

    def __init__(self, tick: float, others: Callable[[], Deadlines] = Deadlines) -> None:
        """Args: tick: seconds that seem to pass between two events."""
        clock = count()
        self.deadlines = others()
        self.readiness = Epoll(self.deadlines, lambda: next(clock) * tick)
        self._server = Server(self.readiness, slot=0, place=0, prefix=b"", limit=EVENTS, dial=None)
        self.far_ends: list[socket.socket] = []
        for _ in range(EVENTS):
            near, far = socket.socketpair()
            near.setblocking(False)
            transport = SocketTransport(near, "unix:", self.deadlines)
            self._server.keep_transport(transport, 0.0)
            self.far_ends.append(far)

    async def until_all_were_seen(self) -> int:
        """How often Trio's loop went round while one event came after the other."""
        passes = Passes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.readiness.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(passes)
            descriptors = [far.fileno() for far in self.far_ends]
            command = [sys.executable, "-c", ONE_BY_ONE, *map(str, descriptors)]
            await trio.run_process(command, pass_fds=descriptors)
            trio.lowlevel.remove_instrument(passes)
            nursery.cancel_scope.cancel()
        return passes.number

    def close(self) -> None:
        self._server.close()
        self.readiness.close()
        for far in self.far_ends:
            far.close()


@pytest.fixture
async def dense() -> AsyncIterator[Watching]:
    """Events that seem to come every microsecond."""
    watching = Watching(1e-6)
    yield watching
    watching.close()


@pytest.fixture
async def sparse() -> AsyncIterator[Watching]:
    """Events that seem to come every second."""
    watching = Watching(1.0)
    yield watching
    watching.close()


async def test_the_loops_own_epoll_is_found(sparse: Watching) -> None:
    assert sparse.readiness.loop == -1
    await sparse.until_all_were_seen()
    assert os.readlink(f"/proc/self/fd/{sparse.readiness.loop}") == "anon_inode:[eventpoll]"
    assert sparse.readiness.loop != sparse.readiness.fd


async def test_many_events_are_waited_for_without_trios_loop(dense: Watching) -> None:
    assert await dense.until_all_were_seen() < EVENTS // 2


async def test_few_events_are_waited_for_in_trios_loop(sparse: Watching) -> None:
    assert await sparse.until_all_were_seen() > EVENTS // 2


async def test_what_wakes_trios_loop_ends_the_waiting(dense: Watching) -> None:
    """A task that waits in Trio's way goes on, though events of readiness come without an end."""
    here, there = socket.socketpair()
    woken = trio.Event()

    async def wait_in_trios_way() -> None:
        await trio.lowlevel.wait_readable(here)
        woken.set()

    def send_between_events() -> None:
        for number, far in enumerate(dense.far_ends):
            if number == EVENTS // 2:
                there.send(b"x")
            if number > EVENTS // 2 + 20:
                assert woken.is_set()
            time.sleep(0.0005)
            far.shutdown(socket.SHUT_WR)
            far.recv(1)

    with here, there:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dense.readiness.watch_forever)
            nursery.start_soon(wait_in_trios_way)
            await trio.testing.wait_all_tasks_blocked()
            await trio.to_thread.run_sync(send_between_events)
            nursery.cancel_scope.cancel()


async def test_while_others_are_busy_it_waits_in_trios_loop() -> None:
    """They would be kept waiting otherwise, those that are to run next after it."""

    class Busy(Deadlines):
        def __getattribute__(self, name: str) -> object:
            return next(numbers) if name == "waits" else super().__getattribute__(name)

    numbers = count()
    watching = Watching(1e-6, Busy)
    assert await watching.until_all_were_seen() > EVENTS // 2
    watching.close()
