"""Waiting outside of Trio's loop is tried out at the start, and given up where it can't work."""

import contextlib
import queue
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def watching() -> AsyncIterator[Epoll]:
    """An epoll whose task has been started, and had the time to look how it may wait."""
    epoll = Epoll()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(epoll.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            yield epoll
            nursery.cancel_scope.cancel()
    finally:
        epoll.close()


async def an_event_is_seen(epoll: Epoll) -> None:
    """An idle connection whose peer ends it is closed by the task of `epoll`."""
    near, far = socket.socketpair()
    near.setblocking(False)
    server = Server(
        epoll, slot=0, member=None, name=b"a", prefix=b"", limit=1, dial=lambda: None
    )  # fmt: skip
    server.keep_transport(SocketTransport(near, "unix:", Deadlines()), 0.0)
    assert server.idle == 1
    far.close()
    while server.idle:
        await trio.lowlevel.checkpoint()


async def test_it_may_wait_where_trio_is_as_expected(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        async with watching() as epoll:
            assert epoll.waits.fd >= 0
            await an_event_is_seen(epoll)
    assert not caplog.records


def _without_fdinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))


def _without_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.lowlevel, "add_instrument", lambda _: None)
    monkeypatch.setattr(trio.lowlevel, "remove_instrument", lambda _: None)


def _without_wake_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    class Token:
        def run_sync_soon(self, _: object) -> None: ...

    monkeypatch.setattr(trio.lowlevel, "current_trio_token", Token)


@pytest.mark.parametrize(
    ("lack", "problem"),
    [
        (_without_fdinfo, "the epoll of Trio's loop was not found in /proc/self/fdinfo"),
        (_without_hooks, "Trio's loop does not tell its instruments what it does"),
        (_without_wake_ups, "the epoll of Trio's loop does not tell of calls to it"),
    ],
)
async def test_it_does_without_what_is_not_as_expected(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lack: Callable[[pytest.MonkeyPatch], None],
    problem: str,
) -> None:
    lack(monkeypatch)
    with caplog.at_level("DEBUG"):
        async with watching() as epoll:
            assert epoll.waits.fd == -1
            await an_event_is_seen(epoll)
    assert caplog.messages == [f"no waiting outside of Trio's loop: {problem}"]


def test_a_host_whose_guest_trio_is_never_waits(caplog: pytest.LogCaptureFixture) -> None:
    """In guest mode our task would stop the host's loop with its own."""
    calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    async def guest() -> int:
        async with watching() as epoll:
            await an_event_is_seen(epoll)
            return epoll.waits.fd

    found: list[int] = []

    def done(outcome: object) -> None:
        found.append(outcome.unwrap())  # type: ignore[attr-defined]
        calls.put(None)

    with caplog.at_level("DEBUG"):
        trio.lowlevel.start_guest_run(guest, run_sync_soon_threadsafe=calls.put, done_callback=done)
        while (call := calls.get(timeout=60)) is not None:
            call()
    assert found == [-1]
    assert caplog.messages == [
        "no waiting outside of Trio's loop: Trio runs as a guest, and its host would wait as well"
    ]


async def test_nothing_is_left_of_a_task_that_is_cancelled_while_it_tries() -> None:
    epoll = Epoll()
    with contextlib.closing(epoll), trio.CancelScope() as scope:
        scope.cancel()
        await epoll.watch_forever()
    assert epoll.waits.fd == -1
