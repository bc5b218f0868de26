"""Streams of a session that has many at a time: the proxy takes each by itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_lb.config import Address, Profile, Server, compile_plan
from trio_lb.errors import ClientError, ClientGone, ResponseBroken
from trio_lb.http.framing import CHUNKED, NO_BODY, Framing, of_length
from trio_lb.http.heads import FieldLine, RequestHead, ResponseHead
from trio_lb.http.identity import Identification, Peer
from trio_lb.http.proxy_protocol import ProxyHeader
from trio_lb.net.deadlines import NEVER
from trio_lb.net.progress import Progress
from trio_lb.net.transport import PeerState
from trio_lb.plan import ForwardedField
from trio_lb.pool import Counters, ServerPool
from trio_lb.proxy.client import Client
from trio_lb.proxy.departures import Departures
from trio_lb.proxy.forward import Forwarder
from trio_lb.proxy.request import RequestHandler
from trio_lb.proxy.tunnel import relay
from trio_lb.upstream.connector import Connector

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_lb.downstream.stream import ClientStream
    from trio_lb.http.answers import Answer
    from trio_lb.net.transport import ByteStream, Transport
    from trio_lb.observe.record import Record
    from trio_lb.upstream.stream import UpstreamStream


class ManyStream:
    """A client's request on a session that has others meanwhile; its body comes piece by piece."""

    def __init__(self, target: bytes, method: bytes = b"GET", framing: Framing = NO_BODY) -> None:
        fields = [(b"Host", b"host", b"example.org")]
        self.head: RequestHead | ClientError = RequestHead(method, target, b"1.1", fields, framing)
        self.began = trio.current_time()
        self.answering = False
        self.progress = Progress(5, None)
        self.scope = trio.CancelScope()
        self.trailers: list[FieldLine] = []
        self.status = 0
        self.answer_body = b""
        self.complete = False
        self._sender, self._body = trio.open_memory_channel[bytes | None](10)
        if framing is NO_BODY:
            self.send(None)

    def send(self, piece: bytes | None) -> None:
        """A piece of the body comes, or its end."""
        self._sender.send_nowait(piece)

    def leave(self) -> None:
        """The client cancels the stream, and none of the others."""
        self._sender.close()

    def body_nowait(self) -> bytes | None:
        try:
            return self._body.receive_nowait()
        except trio.EndOfChannel:
            raise ClientGone("the client has cancelled its request") from None

    async def receive_body(self) -> None:
        while not self._body.statistics().current_buffer_used:
            if not self._body.statistics().open_send_channels:
                raise ClientGone("the client has cancelled its request")
            await trio.sleep(0.1)

    def peer_state(self) -> PeerState:
        return PeerState.THERE

    def ask_whether_it_is_there(self) -> bool:
        return False

    async def send_informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> None:
        raise AssertionError("no server has sent a 1xx")

    async def begin_response(
        self,
        status: int,
        reason: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> None:
        self.status = status
        self.answering = True
        await self.continue_response(parts, trailers)

    async def continue_response(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        await trio.lowlevel.checkpoint()
        self.answer_body += b"".join(parts)
        if trailers is not None:
            self.answering, self.complete = False, True

    async def answer(self, answer: Answer, *, close: bool) -> int:
        await self.begin_response(answer.status, answer.reason, answer.lines, [answer.body], [])
        return len(answer.body)

    def upgrade(self) -> tuple[ByteStream, bytes]:
        raise AssertionError("nothing was offered")


class ServersStream:
    """The same with a server; answered when the test says so."""

    def __init__(self, session: OneSession) -> None:
        self.target = b""
        self.request_body = b""
        self.whole = False
        self.ended = ""
        self._session = session
        self._answers, self._replies = trio.open_memory_channel[bytes | None](1)
        self._parts: list[bytes] = []

    def reply(self, body: bytes | None) -> None:
        """Answer with a body, or break off."""
        self._answers.send_nowait(body)

    def begin_request(
        self,
        method: bytes,
        target: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> bool:
        self.target = target
        self._session.streams[target] = self
        self.request_body += b"".join(parts)
        self.whole = trailers is not None
        return True

    async def send_rest(self, trailers: list[FieldLine] | None) -> None:
        await trio.lowlevel.checkpoint()

    async def continue_request(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        await trio.lowlevel.checkpoint()
        self.request_body += b"".join(parts)
        self.whole = trailers is not None

    @property
    def sent(self) -> float:
        return NEVER

    def expect_answer(self, sent: float | None = None) -> None:
        pass

    def expect_first_word(self) -> None:
        pass

    def body_goes_on(self) -> None:
        pass

    async def read_head(self) -> ResponseHead:
        body = await self._replies.receive()
        if body is None:
            raise ResponseBroken("the server has cancelled the stream")
        self._parts.append(body)
        fields = [(b"Content-Length", b"content-length", b"%d" % len(body))]
        return ResponseHead(200, b"", b"2", fields, of_length(len(body)))

    def available(self) -> tuple[list[bytes], list[FieldLine] | None]:
        return self._parts, []

    async def receive_body(self) -> None:
        raise AssertionError("all of it is here")

    @property
    def switched(self) -> bool:
        return False

    def upgrade(self) -> tuple[ByteStream, bytes]:
        raise AssertionError("nothing was offered")

    def release(self) -> Transport | None:
        self._end("released")
        return None

    def close(self) -> None:
        self._end("closed")

    def _end(self, how: str) -> None:
        assert not self.ended, "a stream ends once"
        self.ended = how
        self._session.under_way -= 1


class OneSession(Connector):
    """All streams to the server are on one connection.

    Attributes:
        streams: by the targets of their requests, the latest of each.
        under_way, opened: how many there are now, and have been.
    """

    def __init__(self) -> None:
        self.streams: dict[bytes, ServersStream] = {}
        self.under_way = self.opened = 0

    async def open(self, *_: Any, **__: Any) -> tuple[UpstreamStream, bool]:
        await trio.lowlevel.checkpoint()
        self.under_way += 1
        self.opened += 1
        return ServersStream(self), self.opened > 1


class Rig:
    """What serves streams, with one server behind it."""

    def __init__(self) -> None:
        address = Address(host="127.0.0.1", port=3001)
        plan = compile_plan(Profile(servers=(Server(address=address),)))
        (pool,), (route,) = plan.pools, plan.routes
        self.servers = ServerPool.private(pool.servers, pool.algorithm)
        self.session = OneSession()
        self.records: list[Record] = []
        self.handler = RequestHandler(
            route,
            self.servers,
            Forwarder(route, self.servers, self.session, relay),
            Identification((), ForwardedField.OFF),
            Counters(self.servers.table),
            Departures(1.0),
            self.records.append,
        )
        self.client = Client(Peer("192.0.2.1", False, ProxyHeader()))

    async def serve(self, stream: ClientStream) -> None:
        """As a session serves one of its streams."""
        with suppress(ClientGone), stream.scope:
            await self.handler.serve(stream, self.client)

    def check_nothing_is_left(self) -> None:
        assert self.session.under_way == 0
        [counters] = self.servers.snapshot()
        assert counters.active == 0


async def test_two_at_a_time_on_one_connection_to_either_side(autojump_clock: MockClock) -> None:
    rig = Rig()
    first, second = ManyStream(b"/1"), ManyStream(b"/2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.serve, first)
        nursery.start_soon(rig.serve, second)
        await wait_all_tasks_blocked()
        assert rig.session.under_way == 2
        rig.session.streams[b"/2"].reply(b"two")
        await wait_all_tasks_blocked()
        assert (second.complete, second.answer_body) == (True, b"two")
        assert (first.status, rig.session.under_way) == (0, 1)
        third = ManyStream(b"/3")
        nursery.start_soon(rig.serve, third)
        await wait_all_tasks_blocked()
        assert rig.session.under_way == 2
        rig.session.streams[b"/1"].reply(b"one")
        rig.session.streams[b"/3"].reply(b"three")
    assert (first.answer_body, third.answer_body) == (b"one", b"three")
    assert [record.status for record in rig.records] == [200] * 3
    assert [stream.ended for stream in rig.session.streams.values()] == ["released"] * 3
    rig.check_nothing_is_left()


async def test_bodies_come_side_by_side(autojump_clock: MockClock) -> None:
    rig = Rig()
    streams = [ManyStream(target, b"POST", CHUNKED) for target in (b"/1", b"/2")]
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(rig.serve, stream)
        for piece in (b"a", b"b", None):
            for stream in streams:
                stream.send(piece)
            await trio.sleep(1)
        sent = [rig.session.streams[target] for target in (b"/1", b"/2")]
        assert [(each.request_body, each.whole) for each in sent] == [(b"ab", True)] * 2
        for each in sent:
            each.reply(b"thanks")
    assert [stream.answer_body for stream in streams] == [b"thanks"] * 2
    rig.check_nothing_is_left()


async def test_a_stream_that_is_cancelled_ends_no_other(autojump_clock: MockClock) -> None:
    rig = Rig()
    leaving, staying = ManyStream(b"/1", b"POST", of_length(100)), ManyStream(b"/2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.serve, leaving)
        nursery.start_soon(rig.serve, staying)
        await wait_all_tasks_blocked()
        leaving.leave()
        await trio.sleep(1)
        assert [record.status for record in rig.records] == [499]
        rig.session.streams[b"/2"].reply(b"two")
    assert (leaving.status, staying.status) == (0, 200)
    rig.check_nothing_is_left()


async def test_a_stream_that_the_server_breaks_off_breaks_no_other(
    autojump_clock: MockClock,
) -> None:
    rig = Rig()
    broken, other = ManyStream(b"/1"), ManyStream(b"/2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.serve, broken)
        nursery.start_soon(rig.serve, other)
        await wait_all_tasks_blocked()
        rig.session.streams[b"/1"].reply(None)
        await wait_all_tasks_blocked()
        assert other.status == 0
        rig.session.streams[b"/2"].reply(b"two")
    assert (broken.status, other.status) == (502, 200)
    assert rig.session.opened == 2
    rig.check_nothing_is_left()


async def test_a_head_that_can_not_be_read_is_answered_on_its_stream(
    autojump_clock: MockClock,
) -> None:
    rig = Rig()
    refused, other = ManyStream(b"/1"), ManyStream(b"/2")
    refused.head = ClientError("the request head is too large", 431)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.serve, other)
        nursery.start_soon(rig.serve, refused)
        await wait_all_tasks_blocked()
        assert (refused.status, refused.complete, other.status) == (431, True, 0)
        rig.session.streams[b"/2"].reply(b"two")
    assert other.status == 200
    rig.check_nothing_is_left()
