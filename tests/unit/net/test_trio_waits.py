"""Readiness by Trio's own waits: told once, to who expects it, and to nobody who was forgotten."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import pytest
import trio
import trio.testing

from tests.support.built import PORTABLE
from trio_lb.fast.loop.trio_waits import TrioWaits
from trio_lb.fast.loop.upstreams import Server
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.readiness import open_readiness
from trio_lb.net.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def pair() -> tuple[socket.socket, socket.socket]:
    """A TCP connection, which can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    return near, far


class Idle:
    """Idle connections that are watched: whatever comes on one closes it."""

    def __init__(self) -> None:
        self.waits = TrioWaits()
        self.server = Server(self.waits, slot=0, place=0, prefix=b"", limit=9, dial=None)
        self.far_ends: list[socket.socket] = []

    def keep(self, ends: tuple[socket.socket, socket.socket] | None = None) -> SocketTransport:
        """One connection more."""
        near, far = ends or pair()
        self.far_ends.append(far)
        transport = SocketTransport(near, "", Deadlines())
        self.server.keep_transport(transport, 0.0)
        return transport

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.waits.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            yield nursery
            nursery.cancel_scope.cancel()


@pytest.fixture
async def idle() -> AsyncIterator[Idle]:
    idle = Idle()
    yield idle
    idle.server.close()
    idle.waits.close()
    for far in idle.far_ends:
        far.close()


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def send(far: socket.socket) -> None:
    far.send(b"x")


def end(far: socket.socket) -> None:
    far.shutdown(socket.SHUT_WR)


def reset(far: socket.socket) -> None:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


@pytest.mark.parametrize("early", [True, False], ids=["before", "while"])
@pytest.mark.parametrize("happen", [send, end, reset])
async def test_what_comes_is_told(
    happen: Callable[[socket.socket], None], early: bool, idle: Idle
) -> None:
    """Also to who was there before anybody waited."""
    if early:
        idle.keep()
    async with idle.watching():
        before = tasks() - early
        if not early:
            idle.keep()
        await trio.testing.wait_all_tasks_blocked()
        assert (tasks(), len(idle.waits)) == (before + 1, 1)
        happen(idle.far_ends[0])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (tasks(), len(idle.waits), idle.server.idle) == (before, 0, 0)


async def test_others_wait_for_who_was_forgotten(idle: Idle) -> None:
    """At once: only one task may wait for a socket in Trio's way."""
    async with idle.watching() as nursery:
        before = tasks()
        kept = idle.keep()
        await trio.testing.wait_all_tasks_blocked()
        transport = idle.server.take_transport(0.0)
        assert transport is kept
        nursery.start_soon(transport.wait_readable, trio.current_time() + 60)
        await trio.testing.wait_all_tasks_blocked()
        assert tasks() == before + 1
        idle.far_ends[0].send(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert tasks() == before
        assert transport.receive_nowait(9) == b"x"
        idle.server.keep_transport(transport, 0.0)


async def test_a_descriptor_s_next_owner_hears_nothing_of_the_last_one(idle: Idle) -> None:
    async with idle.watching():
        first = idle.keep()
        await trio.testing.wait_all_tasks_blocked()
        number = first.fileno()
        near, far = pair()
        idle.far_ends[0].send(b"x")
        idle.server.close()
        with near:
            same = socket.socket(fileno=os.dup2(near.fileno(), number))
        second = idle.keep((same, far))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert idle.server.take_transport(0.0) is second
        idle.server.keep_transport(second, 0.0)


async def test_it_can_be_cancelled_and_begun_again(idle: Idle) -> None:
    before = tasks()
    async with idle.watching():
        idle.keep()
        await trio.testing.wait_all_tasks_blocked()
    assert tasks() == before
    async with idle.watching():
        idle.far_ends[0].close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(idle.waits) == 0


@pytest.mark.parametrize("how", ["auto", "trio"])
async def test_there_is_no_other_way_elsewhere_than_on_linux(how: Literal["auto", "trio"]) -> None:
    readiness = open_readiness(how)
    readiness.close()
    assert isinstance(readiness, TrioWaits) == (PORTABLE or how == "trio")
