"""Streams to servers: on which connection they are, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from tests.support.memory import MemoryTransport, memory_pair
from trio_lb.errors import ConnectFailed, ResponseBroken
from trio_lb.http.framing import CHUNKED, UNTIL_CLOSE, of_length
from trio_lb.http.proxy_protocol import Endpoint, ProxyHeader
from trio_lb.http1.h11_codec import CODECS
from trio_lb.net.deadlines import NEVER, Deadlines
from trio_lb.net.progress import Progress
from trio_lb.plan import Address, RouteTimeouts, ServerPlan
from trio_lb.upstream.connector import Connector
from trio_lb.upstream.idle_pool import UpstreamPool

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_lb.http.framing import Framing
    from trio_lb.upstream.stream import UpstreamStream

TIMEOUTS = RouteTimeouts(connect=1.0, response=2.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ENDS = ProxyHeader(Endpoint("192.0.2.1", 4711), Endpoint("192.0.2.2", 80))


def server(send_proxy: Literal["v1"] | None = None) -> ServerPlan:
    address = Address(host="127.0.0.1", port=3001)
    return ServerPlan(address=address, name="a", send_proxy=send_proxy)


class Dialled:
    """Connects to servers in memory; `theirs` are their ends, in the order of dialling."""

    def __init__(self) -> None:
        self.ours: list[MemoryTransport] = []
        self.theirs: list[MemoryTransport] = []
        self.under_way: list[object] = []
        self.refuses = False

    async def __call__(
        self, address: Address, seconds: float, under_way: object = None, /
    ) -> MemoryTransport:
        self.under_way.append(under_way)
        assert (address.port, seconds) == (3001, TIMEOUTS.connect)
        if self.refuses:
            raise ConnectFailed("connect: refused", refused=True)
        deadlines = Deadlines()
        ours, theirs = memory_pair(deadlines, deadlines)
        self.ours.append(ours)
        self.theirs.append(theirs)
        return ours


async def ask(stream: UpstreamStream, lines: list[tuple[bytes, bytes]] | None = None) -> None:
    assert stream.sent == NEVER
    assert stream.begin_request(b"GET", b"/", [(b"Host", b"a"), *(lines or [])], [], [])
    assert stream.sent < NEVER


async def answered(stream: UpstreamStream, peer: MemoryTransport, data: bytes = OK) -> Framing:
    peer.send_nowait(data)
    head = await stream.read_head()
    _, trailers = stream.available()
    if trailers is None:
        await stream.receive_body()
    return head.framing


def connector_of(dialled: Dialled, *, keeps: bool = True) -> tuple[Connector, UpstreamPool]:
    pool = UpstreamPool(8, 4.0)
    return Connector(dialled, CODECS.server, pool if keeps else None), pool


async def test_a_connection_whose_exchange_is_complete_serves_the_next_one(
    autojump_clock: MockClock,
) -> None:
    dialled = Dialled()
    connector, pool = connector_of(dialled)
    stream, reused = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    assert not reused
    await ask(stream)
    assert await answered(stream, dialled.theirs[0]) == of_length(2)
    assert stream.release() is None
    assert len(pool) == 1
    other, reused = await connector.open(server(), 1, TIMEOUTS, Progress(5, None))
    assert not reused
    other.close()
    again, reused = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    assert reused
    fresh, reused = await connector.open(server(), 0, TIMEOUTS, Progress(5, None), fresh=True)
    assert not reused
    assert len(dialled.ours) == 3
    for each in (again, fresh):
        each.close()
    assert all(each.closed for each in dialled.ours)


@pytest.mark.parametrize(
    ("data", "framing"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", of_length(9)),
        (b"HTTP/1.1 200 OK\r\n\r\nok", UNTIL_CLOSE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", of_length(2)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", CHUNKED),
        (OK + b"more", of_length(2)),
    ],
)
async def test_what_is_kept_for_nobody(
    data: bytes, framing: Framing, autojump_clock: MockClock
) -> None:
    dialled = Dialled()
    connector, pool = connector_of(dialled)
    stream, _ = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    await ask(stream)
    dialled.theirs[0].send_nowait(data)
    assert (await stream.read_head()).framing == framing
    stream.available()
    assert stream.release() is None
    assert len(pool) == 0
    assert dialled.ours[0].closed


async def test_what_the_fast_path_has_begun_to_connect_is_used_or_closed(
    autojump_clock: MockClock,
) -> None:
    dialled = Dialled()
    connector, _ = connector_of(dialled)
    deadlines = Deadlines()
    stream, _ = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    await ask(stream)
    await answered(stream, dialled.theirs[0])
    stream.release()
    for reuses in (True, False):  # meanwhile a connection has become idle; and none has
        under_way, _ = memory_pair(deadlines, deadlines)
        opened = connector.open(server(), 0, TIMEOUTS, Progress(5, None), under_way=under_way)
        stream, reused = await opened
        assert (reused, under_way.closed) == (reuses, reuses)
        assert dialled.under_way == [None] + [under_way] * (not reuses)
        stream.close()


async def test_without_a_pool_nothing_is_kept(autojump_clock: MockClock) -> None:
    dialled = Dialled()
    connector, _ = connector_of(dialled, keeps=False)
    stream, _ = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    await ask(stream)
    await answered(stream, dialled.theirs[0])
    assert stream.release() is None
    assert dialled.ours[0].closed


async def test_a_connection_with_a_proxy_header_is_for_one_client(
    autojump_clock: MockClock,
) -> None:
    dialled = Dialled()
    connector, _ = connector_of(dialled)
    told = server(send_proxy="v1")
    stream, _ = await connector.open(told, 0, TIMEOUTS, Progress(5, None), ENDS)
    await ask(stream)
    received = dialled.theirs[0].receive_nowait(1000)
    assert received is not None
    assert received.startswith(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\nGET / ")
    await answered(stream, dialled.theirs[0])
    stream.release()
    other = ENDS._replace(source=Endpoint("192.0.2.3", 4711))
    stream, reused = await connector.open(told, 0, TIMEOUTS, Progress(5, None), other)
    assert not reused
    stream.close()
    stream, reused = await connector.open(told, 0, TIMEOUTS, Progress(5, None), ENDS)
    assert reused
    await ask(stream)
    received = dialled.theirs[0].receive_nowait(1000)
    assert received is not None
    assert received.startswith(b"GET / ")
    stream.close()


async def test_a_connection_that_has_become_the_clients_own(autojump_clock: MockClock) -> None:
    dialled = Dialled()
    connector, pool = connector_of(dialled)
    stream, _ = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    await ask(stream, [(b"Authorization", b"NTLM abc")])
    await answered(stream, dialled.theirs[0])
    own = stream.release()
    assert own is dialled.ours[0]
    assert not dialled.ours[0].closed
    assert len(pool) == 0
    stream, reused = await connector.open(server(), 0, TIMEOUTS, Progress(5, None), own=own)
    assert reused
    await ask(stream)
    await answered(stream, dialled.theirs[0])
    assert stream.release() is own


async def test_no_connection(autojump_clock: MockClock) -> None:
    dialled = Dialled()
    dialled.refuses = True
    connector, _ = connector_of(dialled)
    with pytest.raises(ConnectFailed, match="refused"):
        await connector.open(server(), 0, TIMEOUTS, Progress(5, None))


async def test_a_server_that_breaks_off(autojump_clock: MockClock) -> None:
    dialled = Dialled()
    connector, _ = connector_of(dialled)
    stream, _ = await connector.open(server(), 0, TIMEOUTS, Progress(5, None))
    await ask(stream)
    dialled.theirs[0].close()
    with pytest.raises(ResponseBroken):
        await stream.read_head()
    assert stream.release() is None
    assert dialled.ours[0].closed
