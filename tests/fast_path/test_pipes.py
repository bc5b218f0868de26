"""Large bodies through pipes: every byte arrives, no other does, and no pipe is left over."""

from __future__ import annotations

import fcntl
import math
import os
import random
import resource
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio
import trio.testing

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import End, open_client
from tests.support.net import reset_on_close
from tests.support.rig import get
from tests.support.waiting import eventually
from trio_lb.runtime import service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import trio_lb
    from tests.support.backend import Exchange


MUCH = 128 * 1024  # bytes to come; see ext/trio_lb/fast/exchange/flow.pxi
PIPE_SIZE = 1024 * 1024  # see ext/trio_lb/fast/loop/pipes.pxd
MOST_PIPES = 16
SMALL = 32 * 1024
DATA = random.Random(2).randbytes(5_000_000)
SIZE = len(DATA)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE


def pipes() -> int:
    """How many of ours there are in this process."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it is not a pipe, or was the listing's own
            count += fcntl.fcntl(int(name), fcntl.F_GETPIPE_SZ) == PIPE_SIZE
    return count // 2


@pytest.fixture(autouse=True)
def _pipes_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A pipe that was used stays to be seen; that idle ones go is a test of its own.
    monkeypatch.setattr(service, "_SWEEP", math.inf)
    assert not pipes()
    yield
    assert not pipes()


async def all_given_back(balancer: trio_lb.LoadBalancer) -> None:
    plain = balancer._service._plain
    assert plain is not None
    fast_path = plain.fast_path
    await eventually(lambda: not fast_path.borrowed and not balancer.statistics().total_active)


@asynccontextmanager
async def stalled(url: str) -> AsyncIterator[trio.SocketStream]:
    """A client that has asked for something, and takes next to nothing of it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        parts = urlsplit(url)
        await stream.socket.connect((parts.hostname, parts.port))
        await stream.send_all(get())
        yield stream


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """None can be opened in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.pipe()
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "size",
    [
        MUCH - 1,
        MUCH,
        MUCH + SMALL - 100,
        MUCH + SMALL,
        MUCH + SMALL + 1,
        1024 * 1024 - 1,
        1024 * 1024 + SMALL,
        2 * 1024 * 1024 + SMALL + MUCH,
        SIZE,
    ],
)
async def test_sizes_around_what_goes_through_a_pipe(size: int, on_slow_path: list[bytes]) -> None:
    async with (
        open_backend(scripts.answer(DATA[:size])) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(3):
            await client.send(get())
            assert (await client.read_response()).body == DATA[:size]
        assert len(backend.connections) == 1
        assert balancer.statistics().servers[0].bytes_received == 3 * size
        assert pipes() <= (size >= MUCH)
        assert not on_slow_path
        await all_given_back(balancer)


async def test_a_pipe_is_shared_by_those_who_keep_up() -> None:
    async with (
        open_backend(scripts.answer(DATA)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        for _ in range(MOST_PIPES + 1):
            async with open_client(balancer.addresses[0]) as client:
                await client.send(get() * 2)
                for _ in range(2):
                    assert (await client.read_response()).body == DATA
        assert 1 <= pipes() <= 2
        await all_given_back(balancer)


async def test_pipes_that_nobody_uses_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_SWEEP", 0.05)
    async with (
        open_backend(scripts.answer(DATA)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(2):
            await client.send(get())
            await eventually(pipes)
            assert (await client.read_response()).body == DATA
            await eventually(lambda: not pipes())


@pytest.mark.no_cover  # megabytes by the kilobyte, which reach no other lines
@pytest.mark.parametrize("seed", range(6))
async def test_random_pieces_for_readers_of_all_kinds(seed: int) -> None:
    rng = random.Random(seed)

    async def in_pieces(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(HEAD)
        begin = 0
        while begin < SIZE:
            piece = DATA[begin : begin + min(int(rng.paretovariate(0.15)), 2_000_000)]
            await exchange.send(piece)
            begin += len(piece)
            if rng.random() < 0.1:
                await trio.sleep(0.001)

    async def read(url: str) -> None:
        async with stalled(url) as stream:
            data = bytearray()
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some(1000)
            del data[: data.index(b"\r\n\r\n") + 4]
            while len(data) < SIZE:
                data += await stream.receive_some(rng.choice([1000, 100_000, 1_000_000]))
                if rng.random() < 0.01:
                    await trio.sleep(0.001)
            assert data == DATA

    async with (
        open_backend(in_pieces) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(read, balancer.addresses[0])
        assert pipes()
        assert balancer.statistics().servers[0].bytes_received == 4 * SIZE
        await all_given_back(balancer)


async def test_a_pipe_that_is_full_of_small_pieces(tmp_path: Path) -> None:
    """A unix socket keeps them apart, and a pipe has room for 256 of them."""

    async def in_small_pieces(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(HEAD + DATA[:1_000_000])
        for begin in range(1_000_000, SIZE, 500):
            await exchange.send(DATA[begin : begin + 500])

    async with (
        open_backend(in_small_pieces, unix=tmp_path / "socket") as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        with trio.fail_after(30):
            assert (await client.read_response()).body == DATA
        assert pipes()
        await all_given_back(balancer)


async def test_nothing_behind_the_body_goes_on() -> None:
    """Bytes that the server sends too many are not the client's."""
    async with (
        open_backend(scripts.overlong(DATA, b"HTTP/1.1 200 OK\r\n\r\n" * 50_000)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(2):
            await client.send(get())
            assert (await client.read_response()).body == DATA
        assert len(backend.connections) == 2
        assert pipes()
        await all_given_back(balancer)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_is_cut(reset: bool) -> None:
    """What came before the end arrives, and the client can tell that it is not all."""
    sent = DATA[:3_000_000]
    arrived = trio.Event()

    async def cut(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(HEAD + sent)
        await arrived.wait()  # a RST can overtake bytes
        await (exchange.reset() if reset else exchange.close())

    async with (
        open_backend(cut) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        data = b""
        while not data.endswith(sent):
            data += await client.stream.receive_some(1_000_000)
        arrived.set()
        assert (await client.read_until_close())[0] == b""
        assert pipes()
        assert balancer.statistics().servers[0].failed == 1
        await all_given_back(balancer)


async def test_a_server_that_ends_at_once_behind_half_a_body() -> None:
    sent = DATA[:3_000_000]
    async with (
        open_backend(scripts.raw(HEAD + sent, reset=False)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        response = await client.read_response()
        assert not response.complete
        assert sent.startswith(response.body)
        assert len(response.body) == len(sent) or response.end is End.RESET
        await all_given_back(balancer)


@pytest.mark.parametrize("leaves", ["close", "reset", "cancelled"])
async def test_a_pipe_with_bytes_in_it_is_closed(leaves: str) -> None:
    async with (
        open_backend(scripts.bulk(100_000_000)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        stalled(balancer.addresses[0]) as stream,
    ):
        await eventually(pipes)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert pipes() == 1
        if leaves == "cancelled":
            balancer._service._clients.cancel_scope.cancel()
        else:
            if leaves == "reset":
                reset_on_close(stream)
            stream.socket.close()
        await all_given_back(balancer)
        assert not pipes()


async def test_who_takes_nothing_leaves_the_others_buffers() -> None:
    """There are only so many pipes; and they come back."""
    async with (
        open_backend(scripts.answer(DATA)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        async with trio.open_nursery() as nursery:

            async def stall(*, task_status: trio.TaskStatus[None]) -> None:
                async with stalled(balancer.addresses[0]):
                    task_status.started()
                    await trio.sleep_forever()

            for _ in range(MOST_PIPES + 2):
                await nursery.start(stall)
            await eventually(lambda: pipes() == MOST_PIPES)
            async with open_client(balancer.addresses[0]) as client:
                await client.send(get())
                assert (await client.read_response()).body == DATA
            assert pipes() == MOST_PIPES
            nursery.cancel_scope.cancel()
        await all_given_back(balancer)
        assert not pipes()
        async with open_client(balancer.addresses[0]) as client:
            await client.send(get())
            assert (await client.read_response()).body == DATA
        assert pipes() == 1


async def test_without_pipes_bodies_are_copied() -> None:
    ready = trio.Event()

    async def when_ready(exchange: Exchange) -> None:
        await ready.wait()
        await scripts.answer(DATA)(exchange)

    async with (
        open_backend(when_ready) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        await eventually(lambda: backend.requests)
        with no_more_descriptors():
            ready.set()
            assert (await client.read_response()).body == DATA
            await client.send(get())
            assert (await client.read_response()).body == DATA
        assert not pipes()
        await all_given_back(balancer)
