"""Bodies on the fast path: every byte arrives, in little memory, and nobody waits for others."""

from __future__ import annotations

import hashlib
import random
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script


SMALL = 32 * 1024  # bytes of the first buffer; see ext/trio_lb/fast/loop/buffers.pxd
LARGE = 512 * 1024
MOST_LARGE = 64
ODD = get("/odd", "TE: gzip")
DATA = random.Random(1).randbytes(3_000_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %7d\r\n\r\n"
FIRST = SMALL - len(HEAD % 0)


def in_pieces(sizes: Sequence[int]) -> Script:
    """A body in pieces that arrive apart from each other."""
    body = DATA[: sum(sizes)]

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        begin = 0
        head = HEAD % len(body)
        for size in sizes:
            await exchange.send(head + body[begin : begin + size])
            await trio.sleep(0.005)
            begin += size
            head = b""

    return script


@pytest.mark.parametrize(
    "sizes",
    [
        # A receive that fills its buffer says nothing about what comes behind it.
        [FIRST, 1000],
        [FIRST, LARGE, 1000],
        [FIRST, LARGE],
        [FIRST],
        [FIRST - 1, 1, 1],
        [FIRST + 1, LARGE - 1, LARGE + 1, 1],
        [1, SMALL, LARGE],
    ],
    ids=str,
)
async def test_pieces_of_a_buffer_s_size(sizes: list[int], on_slow_path: list[bytes]) -> None:
    async with (
        open_backend(in_pieces(sizes)) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(2):
            await client.send(get())
            assert (await client.read_response()).body == DATA[: sum(sizes)]
        assert len(backend.connections) == 1
        assert not on_slow_path


@pytest.mark.parametrize("seed", range(10))
async def test_random_chunks_in_random_pieces(seed: int, on_slow_path: list[bytes]) -> None:
    rng = random.Random(seed)
    body, framed = b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while len(body) < 600_000:
        size = min(int(rng.paretovariate(0.3)), 200_000)
        body += DATA[len(body) : len(body) + size]
        framed += scripts.chunk(body[-size:])
    framed += scripts.chunk(b"")

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        begin = 0
        while begin < len(framed):
            size = min(int(rng.paretovariate(0.2)), 300_000)
            await exchange.send(framed[begin : begin + size])
            begin += size
            if rng.random() < 0.3:
                await trio.sleep(0.001)

    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).body == body
        assert balancer.statistics().servers[0].bytes_received == len(body)
        assert not on_slow_path


async def test_a_large_body_takes_three_buffers() -> None:
    """256 MiB, at a client's pace that changes."""
    size = 256 * 1024 * 1024
    async with (
        open_backend(scripts.bulk(size, bytes(1024 * 1024))) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        plain = balancer._service._plain
        assert plain is not None
        await client.send(get())
        left, seen = size + len(HEAD % size), 0
        while seen < size:
            seen += len(await client.stream.receive_some(1024 * 1024))
            assert plain.fast_path.borrowed <= 3
            if seen % 50 == 0:
                await trio.sleep(0.001)
        assert seen <= left + 100
        with trio.fail_after(5):
            while plain.fast_path.borrowed:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_body_that_pauses_holds_no_buffer(side: str, on_slow_path: list[bytes]) -> None:
    """Only the request's head is kept, as long as nothing of the body is there."""
    piece, go_on = b"x" * 100_000, trio.Event()

    async def script(exchange: Exchange) -> None:
        seen = 0
        while seen < 2 * len(piece):
            seen += len(await exchange.receive())
        await exchange.send(HEAD % (2 * len(piece)) + piece)
        if side == "server":
            await go_on.wait()
        await exchange.send(piece)

    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        plain = balancer._service._plain
        assert plain is not None
        fast_path = plain.fast_path
        request = post(2 * piece)
        await client.send(request[: -len(piece)])
        if side == "server":
            await client.send(piece)
            seen = 0
            while seen < len(HEAD % 200_000) + len(piece):
                seen += len(await client.stream.receive_some(len(piece)))
            await eventually(lambda: fast_path.borrowed == 1)
            go_on.set()
            while seen < len(HEAD % 200_000) + 2 * len(piece):
                seen += len(await client.stream.receive_some(len(piece)))
        else:
            await eventually(lambda: balancer.statistics().total_active == 1)
            await eventually(lambda: fast_path.borrowed == 1)
            await client.send(piece)
            assert (await client.read_response("POST")).body == 2 * piece
        await eventually(lambda: fast_path.borrowed == 0)
        assert not on_slow_path


@pytest.mark.no_cover  # thousands of requests, which reach no other lines
async def test_who_asks_for_much_does_not_keep_others_waiting() -> None:
    """One has sent 5000 requests at once; another asks between them and is served in its turn."""
    served = 0

    async def count(exchange: Exchange) -> None:
        nonlocal served
        served += 1
        await exchange.respond(b"ok")

    async with (
        open_backend(count) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as greedy,
        open_client(balancer.addresses[0]) as modest,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(greedy.send, get("/greedy") * 5000)

        async def read_all() -> None:
            for _ in range(5000):
                assert (await greedy.read_response()).body == b"ok"

        nursery.start_soon(read_all)
        for _ in range(20):
            before = served
            await modest.send(get("/modest"))
            assert (await modest.read_response()).body == b"ok"
            assert served - before < 100


async def test_many_large_responses_are_what_was_sent() -> None:
    """Sixteen clients with several responses each, all of them whole and none mixed up."""

    async def own(exchange: Exchange) -> None:
        await exchange.read_body()
        begin = int(exchange.request.target[1:])
        await exchange.respond(DATA[begin : begin + 1_000_000])

    async def ask(url: str, seed: int) -> None:
        rng = random.Random(seed)
        async with open_client(url) as client:
            for _ in range(10):
                begin = rng.randrange(2_000_000)
                await client.send(get(f"/{begin}"))
                body = (await client.read_response()).body
                expected = hashlib.sha1(DATA[begin : begin + 1_000_000]).digest()
                assert hashlib.sha1(body).digest() == expected

    async with (
        open_backend(own) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        async with trio.open_nursery() as nursery:
            for seed in range(16):
                nursery.start_soon(ask, balancer.addresses[0], seed)
        assert balancer.statistics().servers[0].bytes_received == 160_000_000


async def test_who_takes_some_in_time_gets_all(autojump_clock: MockClock) -> None:
    """However long all of it takes: patience is for those who take nothing."""
    size, seen, patience = 30_000_000, 0, 4
    began = trio.current_time()
    async with (
        open_backend(scripts.bulk(size)) as backend,
        open_balancer(backend.url, health_check="off", timeouts={"body": patience}) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get("/", "Connection: close"))
        while data := await client.stream.receive_some(100_000):
            seen += len(data)
            await trio.sleep(0.2)
        assert seen > size
        assert balancer.statistics().servers[0].failed == 0
    assert trio.current_time() - began > 10 * patience


async def read_slowly(url: str, *, task_status: trio.TaskStatus[None]) -> None:
    """Asks for something, and takes next to nothing of it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        parts = urlsplit(url)
        await stream.socket.connect((parts.hostname, parts.port))
        await stream.send_all(get())
        task_status.started()
        await trio.sleep_forever()


async def test_many_slow_readers_take_little_memory() -> None:
    """Large buffers are lent to so many at a time; the others get on without."""
    script = scripts.chunked([DATA])  # what has a length needs no buffers

    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off", upstream={"idle_connections": 0}) as lb,
        trio.open_nursery() as nursery,
    ):
        plain = lb._service._plain
        assert plain is not None
        for _ in range(MOST_LARGE + 10):
            await nursery.start(read_slowly, lb.addresses[0])
        await eventually(lambda: plain.fast_path.borrowed_large == MOST_LARGE)
        await eventually(lambda: lb.statistics().total_active == MOST_LARGE + 10)
        async with open_client(lb.addresses[0]) as client:
            await client.send(get())
            assert (await client.read_response()).body == DATA
            # Behind so much that a large buffer is needed for it, and there is none.
            await client.send(ODD + get("/" + "a" * 8000) * 7)
            for _ in range(8):
                assert (await client.read_response()).body == DATA
        assert plain.fast_path.borrowed_large == MOST_LARGE
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("framed", [post, post_chunks])
async def test_an_upload_for_which_there_is_no_buffer(
    framed: Callable[[bytes], bytes], on_slow_path: list[bytes]
) -> None:
    """So much of it has come at once that it needs a large one, and is in the last of these."""

    async def script(exchange: Exchange) -> None:
        if exchange.request.method == "POST" and exchange.request.target == "/":
            seen = hashlib.sha256()
            while data := await exchange.receive():
                seen.update(data)
            await exchange.respond(seen.hexdigest().encode())
        elif exchange.request.target == "/":
            await in_chunks(exchange)  # what has a length needs no buffers
        else:
            await exchange.respond(b"")

    in_chunks = scripts.chunked([DATA])
    odd = post(b"x", "TE: gzip", target="/odd")
    body = DATA[:200_000]
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as lb,
        trio.open_nursery() as nursery,
    ):
        for _ in range(MOST_LARGE - 1):
            await nursery.start(read_slowly, lb.addresses[0])
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with open_client(lb.addresses[0]) as client:
            await client.send(odd[:-1])
            await eventually(lambda: on_slow_path)
            await client.send(odd[-1:] + framed(body)[:60_000])  # a receive of the slow path
            await client.read_response()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await client.send(framed(body)[60_000:] + get("/2"))
            assert (await client.read_response()).body == hashlib.sha256(body).hexdigest().encode()
            assert (await client.read_response()).body == b""
        assert on_slow_path == [b"/odd", b"/"]
        nursery.cancel_scope.cancel()
