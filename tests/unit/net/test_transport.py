"""The contract of a transport, over TCP, unix sockets and memory alike."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.memory import memory_pair
from tests.support.net import free_port
from trio_lb.net.deadlines import AT_ONCE, NEVER, TICK, Deadlines
from trio_lb.net.progress import Progress
from trio_lb.net.transport import (
    SocketTransport,
    TimedOut,
    Transport,
    TransportBroken,
    YieldBudget,
    receive,
    send,
    tune,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KINDS = ("tcp", "unix", "memory")


@asynccontextmanager
async def open_pair(kind: str) -> AsyncIterator[tuple[Transport, Transport, Deadlines]]:
    """Two connected ends with small buffers, and who looks after them."""
    deadlines = Deadlines()
    left: Transport
    right: Transport
    if kind == "memory":
        left, right = memory_pair(deadlines, deadlines)
    else:
        left, right = (SocketTransport(s, "peer", deadlines) for s in _sockets(kind))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.watch_forever)
        try:
            yield left, right, deadlines
        finally:
            left.close()
            right.close()
            nursery.cancel_scope.cancel()
    assert len(deadlines) == 0


async def fill(transport: Transport) -> int:
    """Sends until nothing leaves for a (virtual) second; says how many bytes that were."""
    sent = 0
    with suppress(TimedOut):
        while True:
            while count := transport.send_nowait(bytes(65536)):
                sent += count
            await transport.wait_writable(trio.current_time() + 1)
    return sent


def _sockets(kind: str) -> tuple[socket.socket, socket.socket]:
    if kind == "unix":
        left, right = socket.socketpair()
    else:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            listener.bind(("127.0.0.1", free_port()))
            listener.listen()
            left = socket.create_connection(listener.getsockname())
            right, _ = listener.accept()
    for sock in (left, right):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    return left, right


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_go_both_ways_in_order(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        await send(left, b"one", 1)
        await send(left, b"two", 1)
        await send(right, memoryview(b"back"), 1)
        assert await receive(right, NEVER, 4) == b"onet"
        assert await receive(right, NEVER) == b"wo"
        assert await receive(left, NEVER) == b"back"
        assert right.receive_nowait(1) is None


async def test_the_ends_of_a_connection() -> None:
    deadlines = Deadlines()
    left, right = (SocketTransport(s, "127.0.0.1", deadlines) for s in _sockets("tcp"))
    (peer, ours), (their_peer, theirs) = left.ends(), right.ends()
    assert (peer, ours) == (theirs, their_peer)
    assert peer is not None
    assert peer[0] == "127.0.0.1"
    assert peer[1] > 0
    right.reset()
    await left.wait_readable(NEVER)
    assert left.ends() == (("127.0.0.1", 0), ours)  # its port can't be told any more
    left.close()
    unix = [SocketTransport(s, "unix:", deadlines) for s in _sockets("unix")]
    for each in unix:
        assert each.ends() == (None, None)
        each.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_buffer_takes_no_more_until_it_is_read(
    kind: str, autojump_clock: MockClock
) -> None:
    async with open_pair(kind) as (left, right, _):
        sent = await fill(left)
        assert 0 < sent < 1_000_000
        with pytest.raises(TimedOut):
            await left.wait_writable(trio.current_time() + 1)
        got = 0
        while got < sent:
            got += len(await receive(right, NEVER))
        assert got == sent
        await left.wait_writable(trio.current_time() + 1)
        assert left.send_nowait(b"x") == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_unsent_is_what_the_peer_has_not_got(kind: str, autojump_clock: MockClock) -> None:
    async with open_pair(kind) as (left, right, _):
        assert left.unsent == 0
        sent = await fill(left)
        full = left.unsent
        assert full > 0
        got = 0
        while got < sent:
            got += len(await receive(right, NEVER))
        await left.wait_writable(trio.current_time() + 1)
        assert left.unsent < full
        left.close()
        assert kind == "memory" or left.unsent == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [None, 10_000])
async def test_sending_at_a_pace(kind: str, rate: int | None, autojump_clock: MockClock) -> None:
    async with open_pair(kind) as (left, right, _), trio.open_nursery() as nursery:
        await fill(left)
        began = trio.current_time()

        async def sip() -> None:
            for _ in range(100):
                await trio.sleep(5)
                await receive(right, NEVER, 20_000)

        nursery.start_soon(sip)
        with pytest.raises(TimedOut):
            await Progress(20, rate).send_to_client(left, bytes(10_000_000))
        # As long as something moves; or at its pace, 2 s for each 5: 20 / 3 * 5.
        assert trio.current_time() - began > (500 if rate is None else 20)
        assert rate is None or trio.current_time() - began < 120
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", KINDS)
async def test_send_goes_on_as_the_peer_reads(kind: str) -> None:
    data = bytes(range(256)) * 8000
    async with open_pair(kind) as (left, right, _), trio.open_nursery() as nursery:

        async def write() -> None:
            await send(left, data, 1)
            left.send_eof()

        nursery.start_soon(write)
        got = b""
        while piece := await receive(right, NEVER, 10_000):
            assert len(piece) <= 10_000
            got += piece
        assert got == data


@pytest.mark.parametrize("kind", ["unix", "memory"])  # TCP opens its window in real time
async def test_send_times_out_without_progress_only(kind: str, autojump_clock: MockClock) -> None:
    async with open_pair(kind) as (left, right, _), trio.open_nursery() as nursery:
        read = 0

        async def read_slowly() -> None:
            nonlocal read
            while read < 100_000:
                await trio.sleep(4)
                read += len(await receive(right, NEVER))

        nursery.start_soon(read_slowly)
        with pytest.raises(TimedOut):
            await send(left, bytes(3_000_000), 5)
        assert read >= 100_000
        assert trio.current_time() > 5


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wait_ends_at_its_deadline(kind: str, autojump_clock: MockClock) -> None:
    async with open_pair(kind) as (left, _, _):
        began = trio.current_time()
        with pytest.raises(TimedOut):
            await receive(left, began + 5)
        assert 5 <= trio.current_time() - began <= 5 + 2 * TICK
        assert left.read_by == NEVER
        with pytest.raises(TimedOut):
            await left.wait_readable(began)  # is over already
        assert trio.current_time() - began <= 5 + 4 * TICK


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_can_be_moved_during_the_wait(
    kind: str, autojump_clock: MockClock
) -> None:
    async with open_pair(kind) as (left, _, _), trio.open_nursery() as nursery:
        began = trio.current_time()

        async def hurry() -> None:
            await trio.sleep(3)
            left.read_by = AT_ONCE
            left.wake()

        nursery.start_soon(hurry)
        with pytest.raises(TimedOut):
            await left.wait_readable(NEVER)
        assert trio.current_time() - began == pytest.approx(3, abs=TICK / 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_being_woken_in_time_changes_nothing(kind: str, autojump_clock: MockClock) -> None:
    async with open_pair(kind) as (left, right, _), trio.open_nursery() as nursery:

        async def disturb() -> None:
            for _ in range(3):
                await trio.sleep(1)
                left.wake()
            await send(right, b"late", 1)

        nursery.start_soon(disturb)
        assert await receive(left, trio.current_time() + 60) == b"late"
        assert trio.current_time() >= 3


@pytest.mark.parametrize("kind", KINDS)
async def test_both_directions_wait_with_their_own_deadlines(
    kind: str, autojump_clock: MockClock
) -> None:
    ends: dict[str, float] = {}
    async with open_pair(kind) as (left, _, _), trio.open_nursery() as nursery:
        await fill(left)

        async def read() -> None:
            with pytest.raises(TimedOut):
                await left.wait_readable(began + 2)
            ends["read"] = trio.current_time() - began

        async def write() -> None:
            with suppress(TimedOut):
                while True:  # the system may find more room, in its own time
                    await left.wait_writable(began + 6)
                    left.send_nowait(bytes(65536))
            ends["write"] = trio.current_time() - began

        began = trio.current_time()
        nursery.start_soon(read)
        nursery.start_soon(write)
    assert ends["read"] == pytest.approx(2, abs=2 * TICK)
    assert ends["write"] == pytest.approx(6, abs=2 * TICK)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_end_of_the_stream(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        await send(left, b"last", 1)
        left.send_eof()
        assert await receive(right, NEVER) == b"last"
        assert await receive(right, NEVER) == b""
        assert await receive(right, NEVER) == b""
        await send(right, b"the other direction is open", 1)
        assert (await receive(left, NEVER)).startswith(b"the other")
        with pytest.raises(TransportBroken):
            left.send_nowait(b"after the end")


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_is_the_end_for_the_peer(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        await send(left, b"last", 1)
        left.close()
        left.close()
        assert await receive(right, NEVER) == b"last"
        assert await receive(right, NEVER) == b""
        with pytest.raises(TransportBroken):
            # The first may go through; then the peer's RST comes back for it.
            [right.send_nowait(b"x") for _ in range(2)]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_call_on_a_closed_transport_says_so(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        await send(right, b"never read", 1)
        await left.wait_readable(NEVER)
        left.close()
        left.send_eof()
        left.wake()
        left.reset()
        assert left.peek() == b""
        with pytest.raises(TransportBroken):
            left.send_nowait(b"x")
        with pytest.raises(TransportBroken):
            await receive(left, NEVER)
        with pytest.raises(TransportBroken):
            await left.wait_readable(NEVER)
        with pytest.raises(TransportBroken):
            await left.wait_writable(NEVER)


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_ends_waits(kind: str, autojump_clock: MockClock) -> None:
    broken = 0
    async with open_pair(kind) as (left, _, _), trio.open_nursery() as nursery:
        await fill(left)

        async def expect_end(transport: Transport, writing: bool) -> None:
            nonlocal broken
            with pytest.raises(TransportBroken):
                await (transport.wait_writable if writing else transport.wait_readable)(NEVER)
            broken += 1

        nursery.start_soon(expect_end, left, False)
        nursery.start_soon(expect_end, left, True)
        await wait_all_tasks_blocked()
        left.close()
    assert broken == 2


@pytest.mark.parametrize("kind", ["tcp", "memory"])
async def test_a_reset_is_not_the_end_of_a_stream(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        left.reset()
        with pytest.raises(TransportBroken):
            await receive(right, NEVER)
        assert right.peek() == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_with_unread_bytes_resets(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        await send(right, b"unread", 1)
        await left.wait_readable(NEVER)
        left.close()
        with pytest.raises(TransportBroken):
            await receive(right, NEVER)


@pytest.mark.parametrize("kind", ["tcp", "memory"])
async def test_a_reset_wakes_who_waits(kind: str) -> None:
    async with open_pair(kind) as (left, right, _), trio.open_nursery() as nursery:

        async def expect_reset() -> None:
            with pytest.raises(TransportBroken):
                await receive(right, NEVER)

        nursery.start_soon(expect_reset)
        await wait_all_tasks_blocked()
        left.reset()


@pytest.mark.parametrize("kind", KINDS)
async def test_peeking_takes_nothing(kind: str) -> None:
    async with open_pair(kind) as (left, right, _):
        assert left.peek() is None
        await send(right, b"ab", 1)
        await left.wait_readable(NEVER)
        assert left.peek() == b"a"
        assert await receive(left, NEVER) == b"ab"
        assert left.peek() is None
        right.close()
        await left.wait_readable(NEVER)
        assert left.peek() == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_wait_leaves_no_deadline(kind: str, autojump_clock: MockClock) -> None:
    async with open_pair(kind) as (left, right, _):
        with trio.move_on_after(1):
            await left.wait_readable(trio.current_time() + 5)
        assert left.read_by == NEVER
        await trio.sleep(10)
        await send(right, b"fine", 1)
        assert await receive(left, NEVER) == b"fine"


async def test_turns_are_given_now_and_then() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        turns = YieldBudget()
        for _ in range(320):
            await turns.step()
        nursery.cancel_scope.cancel()
    assert 9 <= others <= 11


def test_tuning_sets_no_delay_and_keep_alive() -> None:
    with socket.socket() as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    with socket.socket(socket.AF_UNIX) as sock:
        tune(sock)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="no such options here")
@pytest.mark.parametrize(
    ("vanished_after", "idle", "between"),
    [(30, 15, 5), (120, 60, 20), (0.1, 1, 1), (1e9, 32767, 32767)],
)
def test_a_quiet_peer_is_asked_for_as_long_as_it_may_be_quiet(
    vanished_after: float, idle: int, between: int
) -> None:
    with socket.socket() as sock:
        tune(sock, vanished_after)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        found = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert found == [idle, between, 3]
