"""Responses of all kinds that stay on the fast path, cut anywhere on their way."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
import trio

from tests.fast_path.test_same_outcomes import Case, outcome
from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import End, open_client
from tests.support.http_bytes import cut
from tests.support.paths import both_paths
from tests.support.rig import get

if TYPE_CHECKING:
    from tests.support.backend import Exchange, Script


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Answer(NamedTuple):
    """What a server sends, the same to every request.

    Attributes:
        data: all of it.
        closes: its connection ends then.
    """

    data: bytes
    closes: bool = False


ANSWERS = {
    "HTTP/1.0": Answer(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", closes=True),
    "HTTP/1.0 that keeps": Answer(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "HTTP/1.0, nothing": Answer(
        b"HTTP/1.0 404 Not Found\r\nVia: 1.0 x\r\nContent-Length: 0\r\n\r\n", closes=True
    ),
    "HTTP/1.0, cut": Answer(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello", closes=True),
    "until close": Answer(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello", closes=True),
    "until close, nothing": Answer(b"HTTP/1.1 200 OK\r\n\r\n", closes=True),
    "until close, all of HTTP/1.0": Answer(
        b"HTTP/1.0 200 OK\r\nServer: x\r\nConnection: close\r\n\r\nhello", closes=True
    ),
    "until close that says it keeps": Answer(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", closes=True
    ),
    "an offer of h2, as Apache makes": Answer(
        b"HTTP/1.1 200 OK\r\nServer: x\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    ),
    "an offer and close": Answer(
        b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade, close\r\n"
        b"Content-Length: 5\r\n\r\nhello",
        closes=True,
    ),
    "426": Answer(
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    ),
    "what only requests have": Answer(
        b"HTTP/1.1 200 OK\r\nTE: gzip\r\nHTTP2-Settings: x\r\n"
        b"Connection: TE, HTTP2-Settings\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "204 with a length": Answer(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    "204 that says 5": Answer(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nX: y\r\n\r\n"),
    "204, chunked": Answer(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304, chunked": Answer(b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304 with a length": Answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    "chunks": Answer(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    "trailers": Answer(
        b"HTTP/1.1 200 OK\r\nTrailer: X-A, X-B\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-A: b\r\nDate: x\r\nX-B: \r\n\r\n"
    ),
    "trailers, cut": Answer(CHUNKED + b"5\r\nhello\r\n0\r\nX-A: b\r\n", closes=True),
    "early hints": Answer(HINTS + HELLO),
    "a 100 that nobody asked for": Answer(b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO),
    "interim responses": Answer(
        HINTS
        + b"HTTP/1.1 100 \r\n\r\n"
        + HINTS
        + b"HTTP/1.1 102\r\nA:b\r\nVia: 1.1 x\r\n\r\n"
        + HELLO
    ),
    "early hints, chunks and trailers": Answer(
        HINTS + CHUNKED + b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"
    ),
    "early hints, until close": Answer(HINTS + b"HTTP/1.1 200 OK\r\n\r\nhello", closes=True),
    "early hints, cut": Answer(HINTS + HELLO[:-1], closes=True),
    "HTTP/1.0, 304": Answer(b"HTTP/1.0 304 Not Modified\r\nContent-Length: 9\r\n\r\n", closes=True),
}

SMALL = 32 * 1024  # bytes of the first buffer; see ext/trio_lb/fast/loop/buffers.pxd
HEAD = len(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
DATA = Random(1).randbytes(3_000_000)

#: So many requests in a row, each with its response in other pieces.
TIMES = 5


def in_pieces(answer: Answer) -> Script:
    """Answers whole at first, then byte by byte, then cut anywhere."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        number = int(exchange.request.target[1:])
        random = Random(number)
        size = len(answer.data)
        places = [random.randrange(size) for _ in range(number)]
        pieces = cut(answer.data, list(range(size)) if number == 1 else places if number else [])
        for piece in pieces:
            if piece is not pieces[0]:
                await trio.sleep(0.001)
            await exchange.send(piece)
        if answer.closes:
            await exchange.close()

    return script


async def compare(case: Case, on_slow_path: list[bytes]) -> None:
    """Both paths do the same, and the fast one does it by itself."""
    with trio.fail_after(30):
        fast = await outcome(case, True)
        assert on_slow_path == []
        assert fast == await outcome(case, False)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        *((name, "1.1") for name in ANSWERS),
        # HTTP/1.0 knows no chunks: they are taken apart on the slow path.
        *((name, "1.0") for name in ANSWERS if b"chunked\r\n\r\n5" not in ANSWERS[name].data),
    ],
)
async def test_cut_anywhere(name: str, version: str, on_slow_path: list[bytes]) -> None:
    """On one connection, as long as it is kept."""
    answer = ANSWERS[name]
    whole = "cut" not in name
    sends = [([get(f"/{number}", version=version)], ["GET"]) for number in range(TIMES)]
    cases = [Case(name, sends, [in_pieces(answer)])]
    if version == "1.0" or not whole:
        cases = [Case(name, [each], [in_pieces(answer)]) for each in sends]
    for case in cases:
        await compare(case, on_slow_path)
        on_slow_path.clear()


@pytest.mark.parametrize("name", ANSWERS)
async def test_to_head(name: str, on_slow_path: list[bytes]) -> None:
    """In answer to HEAD, nothing is behind the final head."""
    answer = ANSWERS[name]
    final = answer.data.rindex(b"HTTP/1.")
    data = answer.data[: answer.data.index(b"\r\n\r\n", final) + 4]
    sends = [([get(f"/{number}", method="HEAD")], ["HEAD"]) for number in range(TIMES)]
    await compare(Case(name, sends, [in_pieces(Answer(data, answer.closes))]), on_slow_path)


def until_close(*sizes: int, reset: bool = False) -> Script:
    """A body without any length, in pieces of these sizes that arrive apart from each other."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        data, at = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n", 0
        for size in sizes:
            await exchange.send(data + DATA[at : at + size])
            await trio.sleep(0.003)
            at, data = at + size, b""
        await (exchange.reset() if reset else exchange.close())

    return script


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    "sizes",
    [
        (0, 1),
        (1, 0, 1, 15, 16, 17, 255, 256, 4095, 65536),
        # The buffer that the head came in is full, or nearly: there is no room behind the piece.
        *((SMALL - HEAD - left, 10) for left in range(-1, 10)),
        (SMALL - HEAD - 5, 10, SMALL - 16, SMALL - 15, SMALL, 1_000_000, 5),
        (3_000_000,),
    ],
    ids=str,
)
async def test_until_close_in_pieces(
    sizes: tuple[int, ...], version: str, on_slow_path: list[bytes]
) -> None:
    sends = [([get("/1", version=version)], ["GET"])] * (2 if version == "1.1" else 1)
    await compare(Case("", sends, [until_close(*sizes)]), on_slow_path)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("sizes", [(5,), (5, 100_000), (3_000_000,)], ids=str)
async def test_until_close_and_reset(
    sizes: tuple[int, ...], version: str, on_slow_path: list[bytes]
) -> None:
    """Then it is not complete, and its client is told: HTTP/1.0 by a reset as well."""
    with trio.fail_after(30):
        case = Case("", [([get(version=version)], ["GET"])], [until_close(*sizes, reset=True)])
        fast = await outcome(case, True)
        assert on_slow_path == []
        slow = await outcome(case, False)
    ((end, *_),) = cast("list[tuple[End, object]]", fast["responses"])
    assert end is (End.EOF if version == "1.1" else End.RESET)
    assert fast == slow


async def test_until_close_many_at_once(on_slow_path: list[bytes]) -> None:
    """Where other requests are under way, responses are sent a turn later."""

    async def ask(url: str, version: str) -> None:
        async with open_client(url) as client:
            for _ in range(3 if version == "1.1" else 1):
                await client.send(get(version=version))
                response = await client.read_response()
                assert response.complete
                assert response.body == DATA[:70_006]

    with trio.fail_after(20):
        async with (
            open_backend(until_close(5, 70_000, 1)) as server,
            open_balancer(server.url, health_check="off") as balancer,
            trio.open_nursery() as nursery,
        ):
            for number in range(20):
                version = "1.1" if number % 3 else "1.0"
                nursery.start_soon(ask, balancer.addresses[0], version)
    assert on_slow_path == []


@both_paths
async def test_until_close_and_cancelled(fast_path: bool, on_slow_path: list[bytes]) -> None:
    """A client of HTTP/1.0 does not take what it has for all of it."""

    async def stops(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.0 200 OK\r\n\r\nhalf")
        await trio.sleep_forever()

    async with open_backend(stops) as server, AsyncExitStack() as stack:
        balancer = await stack.enter_async_context(
            open_balancer(server.url, health_check="off", fast_path=fast_path)
        )
        client = await stack.enter_async_context(open_client(balancer.addresses[0]))
        with trio.fail_after(10):
            await client.send(get(version="1.0"))
            seen = b""
            while not seen.endswith(b"half"):
                seen += await client.stream.receive_some(65536)
            balancer._service._clients.cancel_scope.cancel()
            assert await client.read_until_close() == (b"", End.RESET)
    assert bool(on_slow_path) == (not fast_path)


async def raw_answer(script: Script, fast_path: bool) -> bytes:
    """All bytes that a client gets in answer to a last request."""
    async with (
        open_backend(script) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get("/", "Connection: close"))
        data, end = await client.read_until_close()
        assert end is End.EOF
        return data


async def test_interim_responses_are_written_alike(on_slow_path: list[bytes]) -> None:
    data = (
        b"HTTP/1.1 103 Early Hints\r\nLink:</a>\r\nX-Request-ID: 1\r\n"
        b"Keep-Alive: x\r\nVia: 1.0 a\r\n\r\n"
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 104\r\nHost: a\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
    )
    script = scripts.raw(data, reset=False)
    with trio.fail_after(10):
        fast = await raw_answer(script, True)
        assert on_slow_path == []
        assert fast == await raw_answer(script, False)
    assert fast == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Request-ID: 1\r\n"
        b"Via: 1.0 a, 1.1 trio-lb\r\n\r\n"
        b"HTTP/1.1 104 \r\nHost: a\r\nVia: 1.1 trio-lb\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 trio-lb\r\n"
        b"Connection: close\r\n\r\nok"
    )


def hints_and_then(data: bytes, *, reset: bool = False) -> Script:
    """The first request of a connection gets an ordinary answer, the next one this."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        if not exchange.index:
            await exchange.send(HELLO)
            return
        await exchange.send(HINTS)
        await trio.sleep(0.005)
        if data:
            await exchange.send(data)
        await (exchange.reset() if reset else exchange.close())

    return script


@pytest.mark.parametrize(
    "script",
    [
        hints_and_then(b""),
        hints_and_then(b"", reset=True),
        hints_and_then(b"HTTP/1.1 200 "),
        hints_and_then(b"garbage"),
        hints_and_then(b"HTTP/1.1 408 Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        hints_and_then(HINTS * 98 + HELLO),
        hints_and_then(HINTS * 100 + HELLO),
    ],
    ids=["closes", "resets", "half a head", "garbage", "408", "many", "too many"],
)
async def test_what_comes_behind_early_hints(script: Script, on_slow_path: list[bytes]) -> None:
    """On a connection that was used before: a response has begun there, so it is no stale one."""
    for method in ("GET", "POST"):
        sends = [([get(f"/{number}", method=method)], [method]) for number in range(2)]
        with trio.fail_after(20):
            fast = await outcome(Case("", sends, [script]), True)
            assert set(on_slow_path) <= {b"/1"}
            assert fast == await outcome(Case("", sends, [script]), False)
        on_slow_path.clear()


@both_paths
async def test_early_hints_that_would_have_to_wait(
    fast_path: bool, on_slow_path: list[bytes]
) -> None:
    """There is no room for them between us and the client, and on the fast path nobody waits."""
    script = scripts.informational(103, [("Link", "x")], scripts.answer(DATA[:100_000]))
    async with (
        open_backend(script) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
    ):
        listening = os.dup(balancer._service.listeners[0].fileno())
        with socket.socket(fileno=listening) as sock:  # those of its clients have that too
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        async with open_client(balancer.addresses[0]) as client:
            with trio.fail_after(20):
                for _ in range(2):
                    await client.send(get())
                    response = await client.read_response()
                    assert response.informational == (103,)
                    assert response.body == DATA[:100_000]
    assert on_slow_path == [b"/"] * 2
