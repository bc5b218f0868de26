"""A client's connection in HTTP/1.1: which streams it yields, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.memory import MemoryTransport, memory_pair
from trio_lb.downstream.http1_session import Http1Session
from trio_lb.errors import ClientError, ClientGone
from trio_lb.http.answers import error_answer
from trio_lb.http.framing import NO_BODY, of_length
from trio_lb.http.heads import RequestHead
from trio_lb.http1.h11_codec import CODECS
from trio_lb.net.deadlines import Deadlines
from trio_lb.plan import ClientLimits, ClientTimeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from trio_lb.downstream.http1_stream import Http1ClientStream

LIMITS = ClientLimits(head=1000, fields=10, target=100, min_rate=None, requests=None)
TIMEOUTS = ClientTimeouts(head=5.0, body=5.0, keep_alive=20.0, half_closed=1.0)
GET = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
LENGTH = [(b"Content-Length", b"2")]


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """Those of the session's waits."""
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.watch_forever)
        yield deadlines
        nursery.cancel_scope.cancel()


def session_of(
    deadlines: Deadlines, limits: ClientLimits = LIMITS
) -> tuple[Http1Session, MemoryTransport]:
    """A session, and the client's end of its connection."""
    ours, theirs = memory_pair(deadlines, Deadlines())
    return Http1Session(ours, limits, TIMEOUTS, CODECS.client), theirs


async def stream_of(session: Http1Session) -> Http1ClientStream:
    stream = await session.next_stream()
    assert stream is not None
    return stream


async def answered(stream: Http1ClientStream) -> None:
    assert stream.body_nowait() is None
    await stream.begin_response(200, b"OK", LENGTH, [b"ok"], [])


async def test_one_stream_after_the_other(deadlines: Deadlines, autojump_clock: MockClock) -> None:
    session, client = session_of(deadlines)
    client.send_nowait(GET + POST + b"abc")
    first = await stream_of(session)
    assert isinstance(first.head, RequestHead)
    assert (first.head.target, first.head.framing) == (b"/1", NO_BODY)
    assert not first.answering
    await answered(first)
    assert session.next_cycle()
    second = await stream_of(session)
    assert isinstance(second.head, RequestHead)
    assert second.head.framing == of_length(6)
    assert second.body_nowait() == b"abc"
    with pytest.raises(trio.WouldBlock):
        second.body_nowait()
    client.send_nowait(b"def")
    await second.receive_body()
    assert (second.body_nowait(), second.body_nowait(), second.trailers) == (b"def", None, [])
    await second.begin_response(200, b"OK", [(b"Content-Length", b"4")], [b"an"], None)
    answering = second.answering
    await second.continue_response([b"sw"], [])
    assert (answering, second.answering) == (True, False)
    assert session.next_cycle()
    client.send_eof()
    assert await session.next_stream() is None
    received = client.receive_nowait(1000)
    assert received is not None
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert received.endswith(b"answ")


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"GET\r\n", 400), (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n\r\n", 414), (b"GET / HT", 408)],
)
async def test_what_is_no_request_is_a_stream_as_well(
    data: bytes, status: int, deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    session, client = session_of(deadlines)
    client.send_nowait(data)
    began = trio.current_time()
    stream = await stream_of(session)
    assert isinstance(stream.head, ClientError)
    assert stream.head.status == status
    assert stream.began == began
    await stream.answer(error_answer(status, "no"), close=True)
    assert not session.next_cycle()
    received = client.receive_nowait(1000)
    assert received is not None
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in received


async def test_the_last_of_so_many_requests(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    limits = ClientLimits(head=1000, fields=10, target=100, min_rate=None, requests=2)
    session, client = session_of(deadlines, limits)
    client.send_nowait(GET * 3)
    await answered(await stream_of(session))
    assert session.next_cycle()
    await answered(await stream_of(session))
    assert session.last
    assert not session.next_cycle()


async def test_idle_until_it_is_evicted(deadlines: Deadlines, autojump_clock: MockClock) -> None:
    session, _ = session_of(deadlines)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert await session.next_stream() is None

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert session.idle_since == trio.current_time()
        session.evict()
    assert session.idle_since > trio.current_time()


async def test_a_drain_leaves_a_moment_for_a_last_request(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    session, client = session_of(deadlines)
    session.drain()
    client.send_nowait(GET)
    await answered(await stream_of(session))
    assert session.last
    received = client.receive_nowait(1000)
    assert received is not None
    assert b"Connection: close\r\n" in received


async def test_a_response_that_the_fast_path_has_begun_is_gone_on_with(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    session, client = session_of(deadlines)
    session.come_back(GET, served=3, began=1.0, patience=None, chunk=None)
    session.resume_answer(last=True)
    stream = await stream_of(session)
    assert (stream.answering, stream.began) == (True, 1.0)
    await stream.begin_response(200, b"OK", [], [b"rest"], [])
    assert client.receive_nowait(1000) == b"4\r\nrest\r\n0\r\n\r\n"
    assert not session.next_cycle()


async def test_who_leaves_in_the_middle_of_a_body(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    session, client = session_of(deadlines)
    client.send_nowait(POST)
    stream = await stream_of(session)
    client.reset()
    with pytest.raises(ClientGone):
        await stream.receive_body()


async def test_upgraded_it_is_bytes_those_first_that_came_with_the_head(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    session, client = session_of(deadlines)
    offer = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    client.send_nowait(offer + b"early")
    stream = await stream_of(session)
    assert stream.body_nowait() is None
    await stream.send_informational(101, b"", [(b"Upgrade", b"x"), (b"Connection", b"Upgrade")])
    ours, early = stream.upgrade()
    assert early == b"early"
    client.receive_nowait(1000)
    ours.send_nowait(b"raw")
    assert client.receive_nowait(1000) == b"raw"
    assert not session.next_cycle()
