"""One clock for both directions of an exchange: while bytes move either way, nobody is late."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.rig import get, open_rig
from trio_lb.net.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script

CHUNKED = "Transfer-Encoding: chunked"
EXPECT = "Expect: 100-continue"
LATE = 0.5


@asynccontextmanager
async def serving(way: str, script: Script, **settings: Any) -> AsyncIterator[Any]:
    """A client in front of one server, in memory or on sockets; and how often that has failed."""
    if way == "memory":
        async with open_rig(script, **settings) as rig, rig.client() as client:
            yield client, lambda: rig.failed[0]
        return
    async with (
        open_backend(script) as server,
        open_balancer(
            server.url, health_check="off", fast_path=way == "fast", **settings
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        yield client, lambda: balancer.statistics().servers[0].failed


ways = pytest.mark.parametrize("way", ["memory", "slow", "fast"])


async def repeated(times: int, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    for _ in range(times):
        await trio.sleep(seconds)
        await act()


@ways
async def test_an_early_head_and_then_a_long_upload(way: str, autojump_clock: MockClock) -> None:
    async def early(exchange: Exchange) -> None:
        await exchange.send_head(200, [scripts.CHUNKED])
        await exchange.read_body()
        await exchange.send(scripts.chunk(b"thanks") + scripts.chunk(b""))

    async with serving(way, early) as (client, failed):
        await client.send(get("/", CHUNKED, method="POST"))
        await repeated(10, 20, lambda: client.send(scripts.chunk(bytes(20 * 240))))
        await client.send(scripts.chunk(b""))
        response = await client.read_response()
        assert (response.status, response.body, response.complete) == (200, b"thanks", True)
        assert failed() == 0


@ways
async def test_an_upload_that_pauses_while_its_answer_comes(
    way: str, autojump_clock: MockClock
) -> None:
    async def events(exchange: Exchange) -> None:
        await exchange.receive()
        await exchange.send_head(200, [scripts.CHUNKED])
        await repeated(10, 20, lambda: exchange.send(scripts.chunk(b"data: 1\n\n")))
        await exchange.read_body()
        await exchange.send(scripts.chunk(b""))

    async with serving(way, events) as (client, failed), trio.open_nursery() as nursery:
        await client.send(get("/", CHUNKED, method="POST") + scripts.chunk(b"begun"))

        async def go_on() -> None:
            await trio.sleep(205)
            await client.send(scripts.chunk(b"x") + scripts.chunk(b""))

        nursery.start_soon(go_on)
        response = await client.read_response()
        assert (response.complete, len(response.body)) == (True, 90)
        assert failed() == 0


async def test_an_answer_that_pauses_while_the_server_takes_the_upload(
    autojump_clock: MockClock,
) -> None:
    """It is slow in both, but never still; and the client has done all that it can."""

    async def sip(exchange: Exchange) -> None:
        await exchange.send_head(200, [scripts.CHUNKED])
        while await exchange.receive():  # noqa: ASYNC110
            await trio.sleep(14)
        await exchange.send(scripts.chunk(b"done") + scripts.chunk(b""))

    async with open_rig(sip, capacity=16_384) as rig:
        async with rig.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(
                client.send, get("/", "Content-Length: 200000", method="PUT") + bytes(200_000)
            )
            response = await client.read_response("PUT")
        assert (response.body, response.complete, rig.failed) == (b"done", True, [0])
        assert trio.current_time() > 100


async def test_a_client_that_uploads_may_read_later(autojump_clock: MockClock) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.send_head(200, [("Content-Length", "1000000")])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.send, bytes(1_000_000))
            await exchange.read_body()

    async with open_rig(talk) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        await repeated(10, 20, lambda: client.send(scripts.chunk(bytes(30 * 240))))
        await client.send(scripts.chunk(b""))
        response = await client.read_response()
        assert (response.complete, rig.failed) == (True, [0])


@ways
async def test_who_is_still_in_both_directions_is_the_client_to_blame(
    way: str, autojump_clock: MockClock
) -> None:
    """An answer has begun, and the rest of the request does not come: the server may wait for it"""

    async def early(exchange: Exchange) -> None:
        await exchange.send_head(200, [scripts.CHUNKED])
        await exchange.send(scripts.chunk(b"begun"))
        await exchange.read_body()

    async with serving(way, early) as (client, failed):
        await client.send(get("/", CHUNKED, method="POST") + scripts.chunk(b"a"))
        response = await client.read_response()
        assert (response.body, response.complete) == (b"begun", False)
        assert trio.current_time() == pytest.approx(30, abs=LATE)
        assert failed() == 0


async def test_a_drip_of_an_upload_is_no_progress(autojump_clock: MockClock) -> None:
    async def early(exchange: Exchange) -> None:
        await exchange.send_head(200, [scripts.CHUNKED])
        await exchange.read_body()

    async with open_rig(early) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        with pytest.raises(trio.BrokenResourceError):
            await repeated(100, 1, lambda: client.send(scripts.chunk(b"x")))
        assert trio.current_time() == pytest.approx(31, abs=2)
        assert rig.failed == [0]


# Expect: 100-continue


@ways
async def test_a_server_without_a_word_about_the_body_is_late(
    way: str, autojump_clock: MockClock
) -> None:
    async with serving(way, scripts.hang(), timeout=50.0) as (client, failed):
        await client.send(get("/", "Content-Length: 100", EXPECT, method="POST"))
        response = await client.read_response()
        assert (response.status, failed()) == (504, 1)
        assert trio.current_time() == pytest.approx(50, abs=LATE)


async def test_the_first_word_may_take_as_long_as_an_answer(autojump_clock: MockClock) -> None:
    """Longer than a body may pause; and the client has all of its patience afterwards."""

    async def slow(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await trio.sleep(45)
        await exchange.read_body()
        await exchange.respond(b"thanks")

    async with open_rig(slow, timeout=50.0) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 5", EXPECT, method="POST"))
        while b" 100 " not in await client.stream.receive_some(1000):
            pass
        await trio.sleep(25)
        await client.send(b"hello")
        assert (await client.read_response()).body == b"thanks"
        assert trio.current_time() == pytest.approx(70, abs=LATE)
        assert rig.failed == [0]


async def test_a_body_that_does_not_wait_is_an_upload_like_any_other(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(scripts.hang()) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, EXPECT, method="POST"))
        await repeated(10, 5, lambda: client.send(scripts.chunk(bytes(5 * 240))))
        await client.send(scripts.chunk(b""))
        assert (await client.read_response()).status == 504
        assert trio.current_time() == pytest.approx(60, abs=LATE)


async def test_a_body_that_was_asked_for_and_does_not_come(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 5", EXPECT, method="POST"))
        response = await client.read_response()
        assert (response.informational, response.status, rig.failed) == ((100,), 408, [0])
        assert trio.current_time() == pytest.approx(30, abs=LATE)


async def test_a_final_answer_in_place_of_the_100_that_pauses_is_its_server_s(
    autojump_clock: MockClock,
) -> None:
    async def stall(exchange: Exchange) -> None:
        await exchange.send_head(413, [("Content-Length", "10")])
        await exchange.send(b"too")
        await trio.sleep_forever()

    async with open_rig(stall) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 5", EXPECT, method="POST"))
        response = await client.read_response()
        assert (response.status, response.complete, rig.failed) == (413, False, [1])
        assert trio.current_time() == pytest.approx(30, abs=LATE)


LARGE = bytes(300_000)


def upload(data: bytes) -> bytes:
    return get("/", f"Content-Length: {len(data)}", method="POST") + data


async def test_an_upload_that_its_server_takes_slowly_from_our_system(
    autojump_clock: MockClock,
) -> None:
    """All of it has left, but for the buffers here: `timeout` begins anew while it is taken."""

    async def sip(exchange: Exchange) -> None:
        while await exchange.receive():  # noqa: ASYNC110
            await trio.sleep(1.5)
        await exchange.respond(b"ok")

    async with open_rig(sip, capacity=1 << 20, timeout=2.0) as rig:
        async with rig.client() as client:
            await client.send(upload(LARGE))
            response = await client.read_response("POST")
            assert (response.status, response.body) == (200, b"ok")
            assert trio.current_time() > 5
        assert rig.failed[0] == 0


@pytest.mark.parametrize("way", ["slow", "fast"])
async def test_what_waits_for_a_server_is_looked_at_on_both_paths(
    way: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How fast it gets less is the kernel's, by the machine's clock, so that it is told here."""
    waiting = [300_000, 200_000, 100_000]
    looks = iter([*waiting, 0, 0])
    monkeypatch.setattr(SocketTransport, "unsent", property(lambda self: next(looks)))
    script = scripts.delayed(7, scripts.answer(b"ok"))
    async with serving(way, script, timeout="2s", replay_body=0) as (client, failed):
        await client.send(upload(bytes(70_000)))
        assert (await client.read_response("POST")).status == 200
        assert failed() == 0


@pytest.mark.parametrize(("size", "seconds"), [(1000, 2), (len(LARGE), 4)])
async def test_a_server_that_takes_nothing_of_it_is_late(
    size: int, seconds: float, autojump_clock: MockClock
) -> None:
    """A large upload is looked at when `timeout` is over for the first time, and has it twice."""
    async with open_rig(scripts.hang(reads=False), capacity=1 << 20, timeout=2.0) as rig:
        async with rig.client() as client:
            await client.send(upload(bytes(size)))
            assert (await client.read_response("POST")).status == 504
            assert trio.current_time() == pytest.approx(seconds, abs=LATE)
        assert rig.failed[0] == 1
