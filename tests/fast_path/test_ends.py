"""Every state of the fast path meets every end: the counts are right, and nothing is left.

In virtual time, so that what is late is late at once.
"""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import End, open_client
from tests.support.leaks import assert_even
from tests.support.net import black_hole
from tests.support.paths import both_paths
from tests.support.real_time import fail_after_real
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    import trio_lb
    from tests.support.backend import Backend, Exchange, Script
    from tests.support.client import Client


TIMEOUTS = {"connect": 2, "client_head": 3, "body": 4, "keep_alive": 5, "drain": 1.5}
RESPONSE = 6.0
LATE = 0.25  # two looks at the deadlines, and what the machine needs


def stops_after(data: bytes) -> Script:
    """Reads the request, answers with a part of a response, and no more."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(data)
        await trio.sleep_forever()

    return script


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(2_000_000) + b"half"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhalf"

#: What the client sends, and what the server does; None: there is no answer to its SYN.
STATES = {
    "new": (b"", stops_after(b"")),
    "head": (get()[:20], stops_after(b"")),
    "body": (post(b"x" * 10)[:-3], stops_after(b"")),
    "connecting": (get(), None),
    "uploading": (post(b"x" * 300_000)[:100_000], stops_after(b"")),
    "in a chunk": (post_chunks(b"x" * 300_000)[:100_000], stops_after(b"")),
    "in a small chunk": (post_chunks(b"x" * 100, method="PUT")[:-57], stops_after(b"")),
    "behind a chunk": (post_chunks(b"x" * 10, end=b"")[:-1], stops_after(b"")),
    "between chunks": (post_chunks(b"x" * 70_000, end=b"1"), stops_after(b"")),
    "waiting": (get(), stops_after(b"")),
    "waiting after post": (post(b"x"), stops_after(b"")),
    "behind early hints": (get(), stops_after(b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    "response head": (get(), stops_after(LENGTH[:20])),
    "relaying": (get(), stops_after(LENGTH)),
    "relaying chunks": (get(), stops_after(CHUNKED)),
    "relaying through a pipe": (get(), stops_after(LARGE)),
    "relaying until close": (get(), stops_after(UNTIL_CLOSE)),
    "relaying until close to HTTP/1.0": (get(version="1.0"), stops_after(UNTIL_CLOSE)),
    "slow client": (get(), scripts.bulk(50_000_000)),
    "idle": (get(), scripts.answer(b"half")),
}
CHUNKED_UPLOADS = ("in a chunk", "in a small chunk", "behind a chunk", "between chunks")
RELAYING = (
    "relaying",
    "relaying chunks",
    "relaying through a pipe",
    "relaying until close",
    "relaying until close to HTTP/1.0",
)
SLOT_FREE = ("new", "head", "body", "idle")


@dataclass
class Stage:
    """An exchange that has come to some state."""

    client: Client
    balancer: trio_lb.LoadBalancer
    server: Backend | None
    began: float

    def counted(self) -> tuple[str, int]:
        """Requests by the class of their answer, and the server's failures."""
        statistics = self.balancer.statistics()
        classes = {key: count for key, count in statistics.responses_by_class.items() if count}
        if unanswered := statistics.requests_total - sum(classes.values()):
            classes["none"] = unanswered
        words = ", ".join(f"{count} {key}" for key, count in classes.items())
        return words, statistics.servers[0].failed

    async def over(self) -> float:
        """Waits until the client's connection has ended; how long that took."""
        await self.client.read_until_close()
        while self.balancer.statistics().client_connections:
            await trio.lowlevel.checkpoint()
        return trio.current_time() - self.began

    async def all_is_free(self) -> None:
        assert_even(self.balancer)
        assert self.balancer.statistics().client_connections == 0


@asynccontextmanager
async def at(state: str, clock: MockClock) -> AsyncIterator[Stage]:
    """Brings an exchange into a state, in no time; from then on time jumps."""
    sends, script = STATES[state]
    async with AsyncExitStack() as stack:
        server = None
        if script is None:
            url = stack.enter_context(black_hole())
        else:
            server = await stack.enter_async_context(open_backend(script))
            url = server.url
        balancer = await stack.enter_async_context(
            open_balancer(url, health_check="off", timeouts=TIMEOUTS, timeout=RESPONSE, retries=0)
        )
        client = await stack.enter_async_context(open_client(balancer.addresses[0]))
        if sends:
            await client.send(sends)
        await eventually(lambda: balancer.statistics().client_connections)
        if state not in SLOT_FREE:
            await eventually(lambda: balancer.statistics().total_active)
        seen = b""
        while state in ("idle", *RELAYING) and b"half" not in seen:
            seen = seen[-3:] + await client.stream.receive_some(65536)
        await trio.testing.wait_all_tasks_blocked(0.02)  # until all that can go on has gone on
        clock.autojump_threshold = 0
        yield Stage(client, balancer, server, trio.current_time())


CANCELLED = {
    "new": "",
    "head": "",
    "body": "1 none",
    "connecting": "1 none",
    "uploading": "1 none",
    **dict.fromkeys(CHUNKED_UPLOADS, "1 none"),
    "waiting": "1 none",
    "waiting after post": "1 none",
    "behind early hints": "1 none",
    "response head": "1 none",
    **dict.fromkeys(RELAYING, "1 2xx"),
    "slow client": "1 2xx",
    "idle": "1 2xx",
}


@pytest.mark.parametrize("state", STATES)
async def test_cancelled(state: str, mock_clock: MockClock) -> None:
    async with at(state, mock_clock) as stage:
        balancer = stage.balancer
        balancer._service._clients.cancel_scope.cancel()
        assert await stage.over() < 0.1
        assert stage.counted() == (CANCELLED[state], 0)
        await stage.all_is_free()


@pytest.mark.parametrize("state", STATES)
async def test_drained(state: str, mock_clock: MockClock) -> None:
    async with at(state, mock_clock) as stage:
        finished = await stage.balancer.drain()
        assert finished is (state in ("new", "idle"))
        assert trio.current_time() - stage.began == pytest.approx(1 if finished else 1.5, abs=LATE)
        await stage.over()
        assert stage.counted() == (CANCELLED[state], 0)
        await stage.all_is_free()


LATE_ENDS = {
    "new": (3, "", 0),
    "head": (3, "1 4xx", 0),
    "body": (4.5, "1 4xx", 0),
    "connecting": (2, "1 5xx", 1),
    "uploading": (4, "1 4xx", 0),
    **dict.fromkeys(CHUNKED_UPLOADS, (4, "1 4xx", 0)),
    "waiting": (6, "1 5xx", 1),
    "waiting after post": (6, "1 5xx", 1),
    "behind early hints": (6, "1 5xx", 1),
    "response head": (6, "1 5xx", 1),
    **dict.fromkeys(RELAYING, (4, "1 2xx", 1)),
    "slow client": (4, "1 2xx", 0),
    "idle": (5, "1 2xx", 0),
}


@pytest.mark.parametrize("state", STATES)
async def test_too_late(state: str, mock_clock: MockClock) -> None:
    seconds, classes, failed = LATE_ENDS[state]
    async with at(state, mock_clock) as stage:
        if state == "slow client":  # its system may take some more first
            with trio.fail_after(60):
                while stage.balancer.statistics().client_connections:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            assert seconds <= trio.current_time() - stage.began + LATE
        else:
            if state not in ("idle", "new", *RELAYING):
                assert (await stage.client.read_response()).status in (408, 503, 504)
                assert trio.current_time() - stage.began == pytest.approx(seconds, abs=LATE)
                await stage.client.finish()
            await stage.over()
            assert trio.current_time() - stage.began == pytest.approx(seconds, abs=2 * LATE)
        assert stage.counted() == (classes, failed)
        await stage.all_is_free()


GONE = (0, "1 4xx", 0)
ASKED = (1, "1 4xx", 0)
ANSWERED = (0, "1 2xx", 0)

LEFT = {
    # with a FIN, by closing, with a RST: after so many seconds, class and failures
    "new": ((0, "", 0), (0, "", 0), (0, "", 0)),
    "head": (GONE, GONE, (0, "", 0)),
    "body": (GONE, GONE, GONE),
    "connecting": ((2, "1 5xx", 1), (2, "1 5xx", 1), GONE),
    "uploading": (GONE, GONE, GONE),
    **dict.fromkeys(CHUNKED_UPLOADS, (GONE, GONE, GONE)),
    "waiting": ((6, "1 5xx", 1), ASKED, GONE),
    "waiting after post": ((6, "1 5xx", 1), ASKED, GONE),
    "behind early hints": ((6, "1 5xx", 1), ASKED, GONE),
    "response head": ((6, "1 5xx", 1), ASKED, GONE),
    **dict.fromkeys(RELAYING, ((1, "1 2xx", 0), (1, "1 2xx", 0), ANSWERED)),
    "slow client": ((4, "1 2xx", 0), ANSWERED, ANSWERED),
    "idle": (ANSWERED, ANSWERED, ANSWERED),
}

WAYS = ("finish", "close", "reset")

#: In these, bytes of a next request may stand before the client's end, which hide it.
HIDDEN = ("waiting", "waiting after post", "behind early hints", "response head", *RELAYING)


@pytest.mark.parametrize(
    ("state", "way", "hidden"),
    [
        *((state, way, False) for state in STATES for way in WAYS),
        *((state, way, True) for state in HIDDEN for way in ("close", "reset")),
    ],
)
async def test_the_client_leaves(state: str, way: str, hidden: bool, mock_clock: MockClock) -> None:
    """One that has only ended its direction still gets what comes."""
    seconds, classes, failed = LEFT[state][WAYS.index(way)]
    async with at(state, mock_clock) as stage:
        client = stage.client
        if hidden:
            await client.send(get("/next"))
        if way == "reset":
            client.reset()
        elif way == "close":
            client.stream.socket.close()
        else:
            await client.finish()
        with trio.fail_after(60):
            while stage.balancer.statistics().client_connections:  # noqa: ASYNC110
                await trio.sleep(0.05)
        if state != "slow client" or way != "finish":  # else its system may take some more first
            looks = 0.75 if hidden else 0  # where no event tells
            assert trio.current_time() - stage.began <= seconds + looks + LATE
        assert stage.counted() == (classes, failed)
        await stage.all_is_free()


@both_paths
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_who_reads_on_behind_its_last_byte_is_answered(
    version: str, fast_path: bool, autojump_clock: MockClock
) -> None:
    """It is asked whether it reads, by a 100; HTTP/1.0 knows none, and has a bounded time."""
    async with (
        open_backend(scripts.delayed(5, scripts.answer(b"late"))) as server,
        open_balancer(
            server.url,
            health_check="off",
            fast_path=fast_path,
            timeouts={"half_closed": 1 if version == "1.1" else 6},
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get(version=version))
        await client.finish()
        response = await client.read_response()
        assert (response.status, response.body) == (200, b"late")
        assert response.informational == ((100,) if version == "1.1" else ())
        assert await client.read_until_close() == (b"", End.EOF)


@both_paths
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_an_event_stream_that_nobody_reads(
    way: str, fast_path: bool, autojump_clock: MockClock
) -> None:
    """Its server is told within a second or two, though it has nothing to send."""

    async def quiet(exchange: Exchange) -> None:
        await exchange.send(CHUNKED)
        await exchange.connection.receive()

    async with (
        open_backend(quiet) as server,
        open_balancer(
            server.url, health_check="off", fast_path=fast_path, timeouts={"body": 3600}
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        seen = b""
        while b"half" not in seen:
            seen += await client.stream.receive_some(65536)
        await trio.sleep(100)
        if way == "reset":
            client.reset()
        else:
            client.stream.socket.close()
        await server.wait_until(lambda server: not server.open_connections)
        assert trio.current_time() - 100 < (1 if way == "reset" else 2)
        await eventually(lambda: not balancer.statistics().total_active)
        assert balancer.statistics().responses_by_class["2xx"] == 1


@pytest.mark.parametrize("who", ["client", "limit"])
async def test_the_last_answer_of_a_connection(who: str) -> None:
    limits = {"requests_per_connection": 3} if who == "limit" else {}
    async with (
        open_backend(scripts.answer(b"half")) as server,
        open_balancer(server.url, health_check="off", limits=limits) as balancer,
    ):
        for _ in range(3):
            async with open_client(balancer.addresses[0]) as client:
                for number in (1, 2, 3):
                    close = ["Connection: close"] if who == "client" and number == 3 else []
                    await client.send(get("/", *close))
                    assert (await client.read_response()).body == b"half"
                assert await client.read_until_close() == (b"", End.EOF)
        await eventually(lambda: balancer.statistics().client_connections == 0)
        assert_even(balancer)


class Passes(trio.abc.Instrument):
    """Counts how often Trio's loop goes round."""

    def __init__(self) -> None:
        self.number = 0

    def after_io_wait(self, timeout: float) -> None:
        self.number += 1


@pytest.mark.parametrize("unread", [b"", get()], ids=["end", "request"])
@pytest.mark.parametrize("state", ["waiting", "response head", "relaying", "slow client"])
async def test_what_nobody_reads_keeps_nobody_busy(
    state: str, unread: bytes, mock_clock: MockClock
) -> None:
    """A client's next request, or its end, while its last one is served."""
    with fail_after_real(10):  # the clock stands still, so a busy readiness never returns
        async with at(state, mock_clock) as stage:
            mock_clock.autojump_threshold = math.inf  # nothing is late from now on
            if unread:
                await stage.client.send(unread)
            else:
                await stage.client.finish()
            passes = Passes()
            trio.lowlevel.add_instrument(passes)
            await trio.to_thread.run_sync(time.sleep, 0.05)
            trio.lowlevel.remove_instrument(passes)
            assert passes.number < 50


SERVER_LEFT = {
    "uploading": (502, "1 5xx", 1),
    **dict.fromkeys(CHUNKED_UPLOADS, (502, "1 5xx", 1)),
    "waiting": (502, "1 5xx", 1),
    "waiting after post": (502, "1 5xx", 1),
    "response head": (502, "1 5xx", 1),
    "relaying": (0, "1 2xx", 1),
    "relaying chunks": (0, "1 2xx", 1),
    "relaying through a pipe": (0, "1 2xx", 1),
    "idle": (0, "1 2xx", 0),
}


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize("state", SERVER_LEFT)
async def test_the_server_leaves(state: str, abrupt: bool, mock_clock: MockClock) -> None:
    status, classes, failed = SERVER_LEFT[state]
    async with at(state, mock_clock) as stage:
        assert stage.server is not None
        await (stage.server.kill() if abrupt else stage.server.stop())
        if state == "idle":
            plain = stage.balancer._service._plain
            assert plain is not None
            await eventually(lambda: not len(plain.upstreams))
            assert trio.current_time() - stage.began < LATE
        if status:
            assert (await stage.client.read_response()).status == status
        if status or state == "idle":
            await stage.client.finish()
        assert await stage.over() < LATE
        assert stage.counted() == (classes, failed)
        await stage.all_is_free()
