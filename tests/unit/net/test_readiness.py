"""An epoll beside Trio's loop: it waits by itself while events come, and never in others' way."""

import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from itertools import count, pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.built import FAST_PATH, WITHOUT
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.transport import SocketTransport

if not FAST_PATH:
    pytest.skip(WITHOUT, allow_module_level=True)

from trio_lb.fast.loop import Epoll, Server

#: Far more than there is room for in one batch.
EVENTS = 300

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


class Telling(SocketTransport):
    """Says that it was closed."""

    tell: Callable[[], None]

    def close(self) -> None:
        super().close()
        self.tell()


class Watching:
    """Idle connections that readiness watches: whatever comes on one closes it."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.closed = trio.Event()  # one of them; whoever waits for it sets up the next
        self.deadlines = Deadlines()
        self.readiness = Epoll(clock)
        self._server = Server(
            self.readiness,
            slot=0,
            member=None,
            name=b"a",
            prefix=b"",
            limit=EVENTS,
            dial=lambda: None,
        )
        self.far_ends: list[socket.socket] = []
        for _ in range(EVENTS):
            near, far = socket.socketpair()
            near.setblocking(False)
            transport = Telling(near, "unix:", self.deadlines)
            transport.tell = self.tell
            self._server.keep_transport(transport, 0.0)
            self.far_ends.append(far)

    def tell(self) -> None:
        self.closed.set()

    async def until_all_were_seen(self, beside: Callable[[], Awaitable[None]] | None = None) -> int:
        """How often Trio's loop went round while one event came after the other.

        Args:
            beside: another task of that loop meanwhile.
        """
        passes = Passes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.readiness.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            if beside is not None:
                nursery.start_soon(beside)
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


class Looking(Watching):
    """Looks at each event whether the epoll of Trio's loop watches that of readiness."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.watched: list[bool] = []

    def tell(self) -> None:
        super().tell()
        if self.readiness.waits.fd >= 0:
            self.watched.append(self.is_watched())

    def is_watched(self) -> bool:
        return watches(self.readiness.waits.fd, self.readiness.fd)


def watches(epoll: int, fd: int) -> bool:
    """Whether an epoll watches this descriptor."""
    watched = Path(f"/proc/self/fdinfo/{epoll}").read_text()
    return re.search(rf"^tfd:\s*{fd}\s", watched, re.MULTILINE) is not None


def ticking(seconds: float) -> Callable[[], float]:
    """A clock for which so much time passes between two looks at it."""
    looks = count()
    return lambda: next(looks) * seconds


@pytest.fixture
async def dense() -> AsyncIterator[Watching]:
    """Events that seem to come every microsecond."""
    watching = Watching(ticking(1e-6))
    yield watching
    watching.close()


@pytest.fixture
async def sparse() -> AsyncIterator[Watching]:
    """Events that seem to come every second."""
    watching = Watching(ticking(1.0))
    yield watching
    watching.close()


async def test_the_loops_own_epoll_is_found(sparse: Watching) -> None:
    waits = sparse.readiness.waits
    assert waits.fd == -1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sparse.readiness.watch_forever)
        await trio.testing.wait_all_tasks_blocked()
        assert os.readlink(f"/proc/self/fd/{waits.fd}") == "anon_inode:[eventpoll]"
        assert waits.fd != sparse.readiness.fd
        nursery.cancel_scope.cancel()
    assert waits.fd == -1


async def test_many_events_are_waited_for_without_trios_loop(dense: Watching) -> None:
    assert await dense.until_all_were_seen() < EVENTS // 2


async def test_few_events_are_waited_for_in_trios_loop(sparse: Watching) -> None:
    assert await sparse.until_all_were_seen() > EVENTS // 2


async def test_in_a_long_turn_trios_loop_hears_of_no_event() -> None:
    """Who causes one would pay for it; but that loop wakes us, once we wait there again."""
    with closing(Looking(ticking(0.0004))) as watching:
        await watching.until_all_were_seen()
    changes = [now for before, now in pairwise(watching.watched) if now is not before]
    assert changes[:2] == [False, True]


@pytest.mark.parametrize(
    ("gap", "joined"), [(1e-6, False), (0.0004, True)], ids=["short turns", "long turns"]
)
async def test_what_wakes_trios_loop_ends_the_waiting(gap: float, joined: bool) -> None:
    """A task that waits in Trio's way goes on, though events of readiness come without an end.

    In a long turn after another one, Trio's epoll is one of the sockets that are waited for.
    """
    here, there = socket.socketpair()
    woken = trio.Event()
    watching = Watching(ticking(gap))
    readiness = watching.readiness

    async def wait_in_trios_way() -> None:
        await trio.lowlevel.wait_readable(here)
        woken.set()

    def send_between_events() -> None:
        for number, far in enumerate(watching.far_ends):
            if number == EVENTS * 3 // 4:
                assert watches(readiness.fd, readiness.waits.fd) is joined
                there.send(b"x")
            if number > EVENTS * 3 // 4 + 20:
                assert woken.is_set()
            time.sleep(0.0005)
            far.shutdown(socket.SHUT_WR)
            far.recv(1)

    with here, there, closing(watching):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness.watch_forever)
            nursery.start_soon(wait_in_trios_way)
            await trio.testing.wait_all_tasks_blocked()
            await trio.to_thread.run_sync(send_between_events)
            await trio.testing.wait_all_tasks_blocked()
            assert not watches(readiness.fd, readiness.waits.fd)
            nursery.cancel_scope.cancel()


async def test_who_is_busy_gets_its_turns(dense: Watching) -> None:
    """A task that only ever lets others have their turn does nothing that can be waited for."""
    turns = 0

    async def turn_after_turn() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    await dense.until_all_were_seen(turn_after_turn)
    assert turns > EVENTS // 2


async def test_who_was_woken_by_an_event_goes_on_before_the_next(dense: Watching) -> None:
    wakes = 0

    async def count_events() -> None:
        nonlocal wakes
        while True:
            await dense.closed.wait()
            dense.closed = trio.Event()
            wakes += 1

    await dense.until_all_were_seen(count_events)
    assert wakes > EVENTS // 2


async def test_who_sleeps_wakes_in_time() -> None:
    """What Trio's loop has to do at some time is done then, though events come without an end."""
    watching = Watching()
    left: set[int] = set()

    async def look_and_sleep() -> None:
        while True:
            left.add(len(watching.readiness))
            await trio.sleep(0.001)

    await watching.until_all_were_seen(look_and_sleep)
    watching.close()
    assert len(left) > EVENTS // 3
