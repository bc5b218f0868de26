"""Every limit and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.client import Client, End, Response
from tests.support.rig import Rig, get, open_rig, post
from trio_lb.config import Limits

if TYPE_CHECKING:
    from trio.testing import MockClock

CHUNKED = "Transfer-Encoding: chunked"
SMALL = Limits(head=512, headers=10, target=100, body=1000)


async def refused(rig: Rig, client: Client, status: int, method: str = "GET") -> Response:
    """Reads an answer of ours that ends the connection, to the end."""
    response = await client.read_response(method)
    assert (response.status, response.header("connection")) == (status, "close")
    assert await client.read_until_close() == (b"", End.EOF)
    assert rig.records[-1].status == status
    return response


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/" + "a" * 100), 414),
        (get("/", "X: " + "a" * 500), 431),
        (get("/", *["X: y"] * 10), 431),
    ],
)
async def test_heads(data: bytes, status: int, whole: bool) -> None:
    async with open_rig(scripts.answer(), limits=SMALL) as rig, rig.client() as client:
        for at in range(0, len(data), len(data) if whole else 50):
            await client.send(data[at : at + (len(data) if whole else 50)])
        await client.finish()
        await refused(rig, client, status)
        assert not rig.backends[0].requests


async def test_a_head_request_over_a_limit_has_no_body_in_its_answer() -> None:
    async with open_rig(scripts.answer(), limits=SMALL) as rig, rig.client() as client:
        await client.send(get("/" + "a" * 100, method="HEAD"))
        await client.finish()
        response = await refused(rig, client, 414, "HEAD")
        assert response.header("content-length") != "0"


async def test_endless_heads_are_answered_and_read_no_further() -> None:
    async with open_rig(limits=SMALL) as rig:
        for data, status in ((b"GET /" + b"a" * 5000, 414), (get()[:-2] + b"a" * 5000, 431)):
            async with rig.client() as client:
                await client.send(data)
                assert (await client.read_response()).status == status


async def test_a_declared_body_over_the_limit_reaches_no_server() -> None:
    async with open_rig(scripts.answer(), limits=SMALL) as rig, rig.client() as client:
        await client.send(post(b"x" * 1000))
        assert (await client.read_response()).status == 200
        await client.send(post(b"x" * 1001))
        await client.finish()
        await refused(rig, client, 413)
        assert len(rig.backends[0].requests) == 1


async def test_an_expected_body_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with open_rig(scripts.answer(), limits=SMALL) as rig, rig.client() as client:
        expecting = ("Content-Length: 1001", "Expect: 100-continue")
        await client.send(get("/", *expecting, method="POST"))
        response = await client.read_response()
        assert (response.status, response.informational) == (413, ())


@pytest.mark.parametrize("chunks", [[1001], [500, 500, 1], [10] * 101])
async def test_a_chunked_body_is_counted(chunks: list[int], autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer(), limits=SMALL) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        for size in chunks:
            await client.send(scripts.chunk(b"x" * size))
        await client.finish()
        await refused(rig, client, 413)
        assert rig.failed == [0]
        assert not any(request.complete for request in rig.backends[0].requests)


async def test_a_chunked_body_within_the_limit() -> None:
    async with open_rig(scripts.answer(), limits=SMALL) as rig, rig.client() as client:
        data = scripts.chunk(b"x" * 1000) + scripts.chunk(b"")
        await client.send(get("/", CHUNKED, method="POST") + data)
        assert (await client.read_response()).status == 200


async def test_no_body_at_all_may_be_allowed() -> None:
    async with open_rig(scripts.answer(), limits=Limits(body=0)) as rig, rig.client() as client:
        await client.send(get() + post(b"") + post(b"x"))
        assert [(await client.read_response()).status for _ in range(3)] == [200, 200, 413]


async def test_the_last_request_that_a_connection_may_have_says_so() -> None:
    limits = Limits(requests_per_connection=3)
    async with open_rig(scripts.answer(), limits=limits) as rig, rig.client() as client:
        await client.send((get() + post(b"x") + get()) + get())
        answers = [await client.read_response() for _ in range(3)]
        assert [answer.header("connection") for answer in answers] == [None, None, "close"]
        await client.finish()
        assert await client.read_until_close() == (b"", End.EOF)
        assert rig.served == [3]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (get("/", "Content-Length: 1", CHUNKED, method="POST"), 400),
        (get("/", "Transfer-Encoding: gzip", method="POST"), 400),
        (get("/", "Transfer-Encoding: gzip, chunked", method="POST"), 501),
        (get("example.org:443", method="CONNECT"), 501),
        (get(version="2.0"), 505),
        (get("/", "Expect: wonders"), 417),
        (get("/", CHUNKED, method="POST") + b"nonsense\r\n", 400),
    ],
)
async def test_what_is_refused_ends_the_connection(data: bytes, status: int) -> None:
    async with open_rig(scripts.answer(b"x")) as rig, rig.client() as client:
        await client.send(get() + data + get("/never"))
        await client.finish()
        assert (await client.read_response()).status == 200
        await refused(rig, client, status)
        assert rig.failed == [0]
        assert "/never" not in [request.target for request in rig.backends[0].requests]
