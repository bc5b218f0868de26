"""Tunnels: what an Upgrade that is granted leads to, and what one that is not does."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support import scripts
from tests.support.backend import End as BackendEnd
from tests.support.client import End
from tests.support.rig import get, open_bed, open_rig, open_socket_bed, post, unreachable
from tests.support.scripts import mirror, switching
from tests.support.tunnels import OFFER, enter
from trio_lb.config import Timeouts
from trio_lb.net.deadlines import TICK
from trio_lb.net.transport import RECEIVE_SIZE

if TYPE_CHECKING:
    from tests.support.backend import Backend, Exchange, Script
    from tests.support.rig import Rig

pytestmark = pytest.mark.usefixtures("both_codecs")

ECHO = switching(mirror)

both = pytest.mark.parametrize("kind", ["memory", "sockets"])


async def sleep(exchange: Exchange) -> None:
    """A server that neither reads nor writes."""
    await trio.sleep_forever()


def ended(rig: Rig) -> tuple[int, str]:
    """Status and end of the one request that there was."""
    (only,) = rig.records
    return only.status, only.reason


async def left(backend: Backend) -> None:
    """Waits until nobody is connected to a server any more."""
    await backend.wait_until(lambda backend: not backend.open_connections)


# Offers


async def test_an_offer_is_made_anew_and_granted() -> None:
    async with open_rig(ECHO) as rig:
        async with rig.client() as client:
            offer = OFFER.replace(b"websocket", b"h2c, websocket").replace(
                b"Connection: Upgrade", b"Connection: keep-alive, upgrade, HTTP2-Settings"
            )
            tunnel = await enter(client, offer=offer)
            assert tunnel.head.split(b"\r\n") == [
                b"HTTP/1.1 101 Switching Protocols",
                b"Sec-WebSocket-Accept: x",
                b"Via: 1.1 trio-lb",
                b"Connection: Upgrade",
                b"Upgrade: websocket",
            ]
            for data in (b"hello", bytes(1000), b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"):
                await tunnel.send(data)
                assert await tunnel.receive(len(data)) == data
            await client.finish()
            assert await tunnel.receive_all() == (b"", End.EOF)
        (request,) = rig.backends[0].requests
        assert request.header("connection") == "Upgrade"
        assert request.header("upgrade") == "websocket"
        assert request.header("sec-websocket-key") == "AAECAwQFBgcICQoLDA0ODw=="
        assert request.header("http2-settings") is None


async def test_a_tunnel_is_counted_as_a_request_and_its_bytes_too(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(switching(mirror, behind=b"12345")) as rig:
        async with rig.client() as client:
            tunnel = await enter(client, b"early")
            assert await tunnel.receive(10) == b"12345early"
            await trio.sleep(100)
            assert not rig.records
            await client.finish()
            await tunnel.receive_all()
        await rig.idle()
        (only,) = rig.records
        assert (only.status, only.reason) == (101, "ok")
        assert only.duration_s == pytest.approx(100)
        assert (only.bytes_sent, only.bytes_received) == (10, 5)
        (counters,) = rig.servers.snapshot()
        assert (counters.served, counters.failed) == (1, 0)
        assert (counters.bytes_received, counters.bytes_sent) == (10, 5)
        assert rig.counters.read().classes[1] == 1
        assert len(rig.upstreams) == 0


async def test_a_tunnel_occupies_its_server() -> None:
    async with open_rig(ECHO, max_connections=1) as rig:
        async with rig.client() as client:
            await enter(client)
            assert (await rig.ask(get())).status == 503
        await rig.idle()
        rig.backends[0].script = scripts.answer()
        assert (await rig.ask(get())).status == 200


@both
async def test_an_offer_that_is_not_taken_up_is_an_ordinary_request(kind: str) -> None:
    refused = scripts.answer(b"not here", 426, [("Upgrade", "websocket")])
    async with open_bed(kind, refused) as bed, bed.client() as client:
        for _ in range(2):
            await client.send(OFFER)
            response = await client.read_response()
            assert (response.status, response.body) == (426, b"not here")
            assert response.header("connection") is None
        bed.backends[0].script = scripts.answer(b"plain")
        await client.send(get() + OFFER)
        assert [(await client.read_response()).body for _ in range(2)] == [b"plain"] * 2


async def test_with_a_body_that_is_complete() -> None:
    async with open_rig(ECHO) as rig, rig.client() as client:
        offer = post(b"body", "Connection: Upgrade", "Upgrade: websocket")
        tunnel = await enter(client, b"early", offer)
        assert await tunnel.receive(5) == b"early"
        assert rig.backends[0].requests[0].body == b"body"


@pytest.mark.parametrize(
    "offer",
    [
        get("/", "Upgrade: websocket"),
        get("/", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        get("/", "Connection: Upgrade", "Upgrade: websocket", version="1.0"),
        get("/", "Connection: Upgrade"),
    ],
    ids=["no option", "h2c", "HTTP/1.0", "nothing"],
)
async def test_what_may_not_be_offered_is_served_as_http(offer: bytes) -> None:
    async with open_rig(scripts.answer(b"plain")) as rig:
        assert (await rig.ask(offer)).body == b"plain"
        request = rig.backends[0].requests[0]
        for name in ("upgrade", "connection", "http2-settings"):
            assert request.header(name) is None
        rig.backends[0].script = ECHO  # grants what was not offered
        assert (await rig.ask(offer)).status == 502


# 101s that are none


@pytest.mark.parametrize("protocol", ["other", "h2c", "websocket, other", ""])
async def test_another_protocol_than_offered_is_a_broken_answer(protocol: str) -> None:
    async with open_rig(switching(sleep, protocol), scripts.answer()) as rig:
        response = await rig.ask(OFFER)
        assert response.status == 502
        assert rig.failed == [1, 0]
        assert ended(rig)[0] == 502
        assert not rig.backends[1].requests


async def test_switching_before_the_request_is_complete_is_a_broken_answer() -> None:
    async def eager(exchange: Exchange) -> None:
        await exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        await trio.sleep_forever()

    async with open_rig(eager) as rig, rig.client() as client:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked")
        await client.send(get("/", *upgrade, method="POST"))
        await client.send(scripts.chunk(b"the beginning"))
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (502, "close")


# Once


@pytest.mark.parametrize(
    "script",
    [
        scripts.raw(b"", reset=True),
        scripts.raw(b"", reset=False),
        scripts.raw(b"not HTTP\r\n\r\n", reset=False),
        scripts.hang(),
    ],
    ids=["reset", "closed", "not HTTP", "too slow"],
)
async def test_an_offer_that_was_sent_is_never_repeated(
    script: Script, autojump_clock: MockClock
) -> None:
    async with open_rig(script, unreachable) as rig:
        assert (await rig.ask(OFFER)).status in (502, 504)
        assert len(rig.backends[0].requests) == 1


async def test_a_server_that_cannot_be_reached_costs_nothing() -> None:
    async with open_rig(unreachable, ECHO) as rig:
        await rig.backends[0].stop()
        async with rig.client() as client:
            tunnel = await enter(client)
            await tunnel.send(b"x")
            assert await tunnel.receive(1) == b"x"


async def test_an_offer_goes_out_on_a_fresh_connection() -> None:
    async with open_rig(scripts.answer()) as rig:
        await rig.ask(get())
        assert len(rig.upstreams) == 1
        rig.backends[0].script = scripts.in_turn(scripts.answer(), ECHO)
        assert (await rig.ask(OFFER)).status == 200
        assert len(rig.backends[0].connections) == 2
        assert len(rig.upstreams) == 2  # refused, it is as good as any other
        async with rig.client() as client:
            await enter(client)
            assert len(rig.backends[0].connections) == 3
        await rig.idle()
        assert len(rig.upstreams) == 2


# Bytes


@both
async def test_what_came_together_with_the_heads_is_passed_on(kind: str) -> None:
    async with open_bed(kind, switching(mirror, behind=b"first")) as bed, bed.client() as client:
        tunnel = await enter(client, b"early")
        assert await tunnel.receive(10) == b"firstearly"


@both
async def test_both_directions_at_once_and_more_than_fits_into_any_buffer(kind: str) -> None:
    data = bytes(range(256)) * 40_000
    async with open_bed(kind, ECHO) as bed, bed.client() as client:
        tunnel = await enter(client)

        async def send() -> None:
            await tunnel.send(data)
            await client.finish()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await tunnel.receive_all() == (data, End.EOF)


async def test_who_does_not_read_is_not_sent_more_and_the_other_direction_goes_on(
    autojump_clock: MockClock,
) -> None:
    read: list[bytes] = []

    async def talk(exchange: Exchange) -> None:
        stream = exchange.connection.stream
        for _ in range(10):
            await stream.send_all(b"tick")
            await trio.sleep(1)
        while data := await stream.receive_some(65536):
            read.append(data)

    async with open_rig(switching(talk), capacity=10_000) as rig, rig.client() as client:
        tunnel = await enter(client)
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await tunnel.send(bytes(10_000))
                sent += 10_000
            await client.finish()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(5)
            assert sent <= 2 * 10_000 + RECEIVE_SIZE
            assert await tunnel.receive(4 * 4) == b"tick" * 4
        await tunnel.receive_all()
    assert sum(map(len, read)) == sent == 1_000_000


async def test_an_idle_tunnel_holds_no_buffers() -> None:
    size, count = 60_000, 40
    async with (
        open_socket_bed(switching(mirror, behind=bytes(size))) as bed,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(bed.client()) for _ in range(count)]
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        for client in clients:
            tunnel = await enter(client, bytes(size))
            for _ in range(2):
                assert await tunnel.receive(size) == bytes(size)
            await tunnel.send(bytes(size))
            assert await tunnel.receive(size) == bytes(size)
            del tunnel
        bed.backends[0].requests.clear()
        await trio.testing.wait_all_tasks_blocked(0.05)
        gc.collect()
        ours = [tracemalloc.Filter(True, f"*/{part}/*") for part in ("h11", "net", "proxy", "wire")]
        traces = tracemalloc.take_snapshot().filter_traces(ours).traces
        assert 0 < sum(trace.size for trace in traces) < count * size / 2


# Ends


@both
async def test_the_clients_end_is_passed_on_and_the_server_may_go_on(kind: str) -> None:
    async def wait_for_the_end(exchange: Exchange) -> None:
        stream = exchange.connection.stream
        assert await stream.receive_some(100) == b"bye"
        assert await stream.receive_some(100) == b""
        for _ in range(3):
            await stream.send_all(b"more")
            await trio.sleep(0.01)

    async with open_bed(kind, switching(wait_for_the_end)) as bed, bed.client() as client:
        tunnel = await enter(client)
        await tunnel.send(b"bye")
        await client.finish()
        assert await tunnel.receive_all() == (b"more" * 3, End.EOF)


@both
async def test_the_servers_end_is_passed_on_and_the_client_may_go_on(kind: str) -> None:
    got: list[bytes] = []

    async def end_first(exchange: Exchange) -> None:
        stream = exchange.connection.stream
        await stream.send_all(b"bye")
        await stream.send_eof()
        while data := await stream.receive_some(100):
            got.append(data)

    async with open_bed(kind, switching(end_first)) as bed, bed.client() as client:
        tunnel = await enter(client)
        assert await tunnel.receive_all() == (b"bye", End.EOF)
        for _ in range(3):
            await tunnel.send(b"more")
            await trio.sleep(0.01)
        await client.finish()
        await left(bed.backends[0])
        assert b"".join(got) == b"more" * 3


async def test_what_a_server_said_before_it_left_is_not_lost_to_what_comes_for_it(
    autojump_clock: MockClock,
) -> None:
    """A server that closes after its last word resets those who still talk to it."""

    async def leave(exchange: Exchange) -> None:
        await exchange.connection.stream.send_all(b"bye")
        await exchange.close()

    async with open_rig(switching(leave)) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            await wait_all_tasks_blocked()
            for _ in range(3):  # the first is lost, the second meets the reset
                await tunnel.send(b"are you there?")
                await trio.sleep(0.1)
            assert await tunnel.receive_all() == (b"bye", End.EOF)
        await rig.idle()
        assert ended(rig) == (101, "ok")


async def test_a_reset_by_the_client_resets_the_server() -> None:
    async with open_rig(ECHO) as rig:
        async with rig.client() as client:
            await enter(client)
            client.reset()
            await rig.idle()
        await left(rig.backends[0])
        assert rig.backends[0].connections[0].end is BackendEnd.PEER_RESET
        assert ended(rig) == (101, "the client broke the tunnel off")
        assert rig.failed == [0]


async def test_a_reset_by_the_server_resets_the_client() -> None:
    async def reset(exchange: Exchange) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await exchange.reset()

    async with open_rig(switching(reset)) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            assert await tunnel.receive_all() == (b"", End.RESET)
        await rig.idle()
        assert ended(rig) == (101, "the server broke the tunnel off")
        assert rig.failed == [0]  # what happens in a tunnel says nothing about a server
        assert rig.states == ["alive"]


async def test_an_idle_tunnel_is_cut(autojump_clock: MockClock) -> None:
    async with open_rig(ECHO, timeouts=Timeouts(tunnel=7)) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            await trio.sleep(5)
            await tunnel.send(b"x")
            assert await tunnel.receive(1) == b"x"
            began = trio.current_time()
            assert await tunnel.receive_all() == (b"", End.RESET)
            assert trio.current_time() - began == pytest.approx(7, abs=2 * TICK)
        await left(rig.backends[0])
        assert ended(rig) == (101, "the tunnel was idle for too long")
        assert rig.backends[0].connections[0].end is BackendEnd.PEER_RESET


async def test_bytes_in_one_direction_are_enough(autojump_clock: MockClock) -> None:
    async def tick(exchange: Exchange) -> None:
        for _ in range(10):
            await trio.sleep(5)
            await exchange.connection.stream.send_all(b"tick")

    async with open_rig(switching(tick), timeouts=Timeouts(tunnel=7)) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            assert await tunnel.receive_all() == (b"tick" * 10, End.EOF)
        await rig.idle()
        assert ended(rig) == (101, "ok")


async def test_a_tunnel_of_which_one_direction_has_ended_is_cut_when_idle_too(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(switching(sleep), timeouts=Timeouts(tunnel=7)) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            await client.finish()
            assert await tunnel.receive_all() == (b"", End.RESET)
        await rig.idle()
        assert ended(rig) == (101, "the tunnel was idle for too long")


async def test_a_client_that_leaves_with_the_101_on_its_way() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50
    granted = b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with open_rig(scripts.raw(hints + granted, reset=False), capacity=1000) as rig:
        async with rig.client() as client:
            await client.send(OFFER)
            await wait_all_tasks_blocked()
        await rig.idle()
        assert ended(rig)[0] == 499


# Drain


async def test_a_drain_leaves_tunnels_alone(autojump_clock: MockClock) -> None:
    async with open_rig(ECHO) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            rig.proxy.drain()
            for _ in range(5):
                await trio.sleep(10)
                await tunnel.send(b"x")
                assert await tunnel.receive(1) == b"x"
            await client.finish()
            assert await tunnel.receive_all() == (b"", End.EOF)
        await rig.idle()
        assert ended(rig) == (101, "ok")


async def test_a_tunnel_that_outlives_the_drain_is_cut(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_socket_bed(ECHO, timeouts=Timeouts(drain=3)) as bed,
        bed.client() as client,
        trio.open_nursery() as nursery,
    ):
        tunnel = await enter(client)
        nursery.start_soon(bed.lb.drain)
        await trio.sleep(2)
        await tunnel.send(b"x")
        assert await tunnel.receive(1) == b"x"
        assert await tunnel.receive_all() == (b"", End.RESET)
        await left(bed.backends[0])
        assert bed.backends[0].connections[-1].end is BackendEnd.PEER_RESET
    assert "drain timeout: 1 client connections are closed" in caplog.text


async def test_a_tunnel_that_is_cancelled_is_in_the_log_with_what_it_was() -> None:
    async with open_rig(ECHO) as rig:
        async with rig.client() as client:
            tunnel = await enter(client)
            await tunnel.send(b"hello")
            await tunnel.receive(5)
            rig.clients.cancel_scope.cancel()
            assert await tunnel.receive_all() == (b"", End.RESET)
        await rig.idle()
        assert ended(rig) == (101, "cancelled")
        assert rig.records[0].bytes_received == 5


# One side has ended


@pytest.mark.parametrize("kind", ["memory", "sockets"])
@pytest.mark.parametrize("side", ["server", "client"])
async def test_when_one_side_has_ended_the_other_has_a_bounded_time(
    side: str, kind: str, autojump_clock: MockClock
) -> None:
    async def silent(exchange: Exchange) -> None:
        if side == "server":
            await exchange.connection.stream.send_eof()
        await trio.sleep_forever()

    async with open_bed(kind, switching(silent)) as bed, bed.client() as client:
        tunnel = await enter(client)
        if side == "client":
            await client.finish()
        assert await tunnel.receive_all() == (b"", End.EOF if side == "server" else End.RESET)
        if side == "server":
            await trio.sleep(40)
            with pytest.raises(trio.BrokenResourceError):
                await tunnel.send(b"nobody")
        assert trio.current_time() < 130
        bed.backends[0].script = scripts.answer()


async def test_a_side_that_goes_on_when_the_other_has_ended_is_passed_on(
    autojump_clock: MockClock,
) -> None:
    async def talk(exchange: Exchange) -> None:
        for _ in range(10):
            await trio.sleep(20)
            await exchange.send(b"more")

    async with open_rig(switching(talk)) as rig, rig.client() as client:
        tunnel = await enter(client)
        await client.finish()
        assert await tunnel.receive_all() == (b"more" * 10, End.EOF)
        await rig.idle()
        assert ended(rig) == (101, "ok")


async def test_a_server_whose_side_has_ended_has_its_slot_back(autojump_clock: MockClock) -> None:
    async def leave(exchange: Exchange) -> None:
        await exchange.connection.stream.send_eof()
        await trio.sleep_forever()

    async with open_rig(switching(leave), max_connections=1) as rig, rig.client() as client:
        tunnel = await enter(client)
        assert (await tunnel.receive_all())[1] is End.EOF
        assert rig.servers.snapshot()[0].active == 0
        rig.backends[0].script = scripts.answer(b"next")
        assert (await rig.ask(get())).body == b"next"
        await rig.idle()
        assert ended_first(rig) == (200, 101)


def ended_first(rig: Rig) -> tuple[int, ...]:
    """The statuses in the order of their ends."""
    return tuple(each.status for each in rig.records)
