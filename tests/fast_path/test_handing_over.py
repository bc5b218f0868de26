"""What the fast path leaves to the slow one, and how both share what they have."""

from __future__ import annotations

import errno
import json
import math
import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer, states
from tests.support.client import open_client
from tests.support.paths import both_paths
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually
from trio_lb.net.dial import Dialler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

    from tests.support.backend import Exchange
    from trio_lb.net.transport import SocketTransport
    from trio_lb.plan import Address


OK = scripts.answer(b"ok")
ODD = get("/odd", "TE: gzip")


async def test_both_paths_use_the_same_connections(on_slow_path: list[bytes]) -> None:
    async with (
        open_backend(OK) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for data in (get(), ODD, get(), get(), ODD, ODD, get()):
            await client.send(data)
            assert (await client.read_response()).body == b"ok"
        assert on_slow_path == [b"/odd"] * 3
        assert len(backend.connections) == 1


async def test_a_connection_that_its_server_closes_is_not_kept_by_either_path(
    on_slow_path: list[bytes], autojump_clock: MockClock
) -> None:
    """The one has seen the head that says so, and the other goes on with the body."""

    async def closing(exchange: Exchange) -> None:
        await exchange.read_body()
        close = b"Connection: close\r\n" if exchange.request.target == "/1" else b""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % close
        await exchange.send(head + b"5\r\nhello\r\n")
        await trio.sleep(0.01)  # so much has gone on
        await exchange.send(b"1;a=b\r\n!\r\n0\r\nX-End: 1\r\n\r\n")

    async with (
        open_backend(closing) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for number in range(1, 4):
            await client.send(post(b"x", target=f"/{number}"))
            assert (await client.read_response()).body == b"hello!"
        assert on_slow_path == [b"/1", b"/2", b"/3"]
        paths = [[each.target for each in one.requests] for one in backend.connections]
        assert paths == [["/1"], ["/2", "/3"]]


def dialling(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[SocketTransport, int], int]
) -> None:
    """Has what the fast path dials pass through `change`, which says how connect(2) ended."""

    beginning = Dialler.beginning

    def changed_beginning(
        dialler: Dialler, address: Address
    ) -> Callable[[], tuple[SocketTransport, int]]:
        begin = beginning(dialler, address)

        def changed() -> tuple[SocketTransport, int]:
            begun = begin()
            assert begun is not None
            transport, code = begun
            return transport, change(transport, code)

        return changed

    monkeypatch.setattr(Dialler, "beginning", changed_beginning)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENOSPC])
async def test_being_out_of_something_is_the_slow_path_s_affair(
    code: int, monkeypatch: pytest.MonkeyPatch, on_slow_path: list[bytes]
) -> None:
    """It finds room if there is any, and it is no fault of the server."""

    def fail(transport: SocketTransport, _: int) -> int:
        if code == errno.EMFILE:  # there is not even a socket
            transport.close()
            raise OSError(code, os.strerror(code))
        return code

    dialling(monkeypatch, fail)
    async with (
        open_backend(OK) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).status == 200
        assert on_slow_path == [b"/"]
        assert states(balancer) == ["alive"]
        assert balancer.statistics().servers[0].failed == 0


async def test_a_full_queue_of_a_unix_socket_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on_slow_path: list[bytes]
) -> None:
    dialling(monkeypatch, lambda *_: errno.EAGAIN)
    async with (
        open_backend(OK, unix=tmp_path / "app") as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).body == b"ok"
        assert on_slow_path == [b"/"]


@pytest.mark.parametrize("reads", [True, False])
async def test_a_server_that_does_not_take_the_request_at_once(
    reads: bool, monkeypatch: pytest.MonkeyPatch, on_slow_path: list[bytes]
) -> None:
    """The rest of it leaves on the slow path; so does one that is answered early."""

    def small(transport: SocketTransport, code: int) -> int:
        transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        return code

    async def slow(exchange: Exchange) -> None:
        await trio.sleep(0.01)
        if reads:
            body = await exchange.read_body()
            await exchange.respond(b"%d" % len(body))
        else:
            await exchange.respond(b"no", 413, [("Connection", "close")])
            await exchange.close()

    dialling(monkeypatch, small)
    async with (
        open_backend(slow) as backend,
        open_balancer(backend.url, health_check="off", replay_body="1MiB") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(post(b"x" * 200_000))
        response = await client.read_response("POST")
        assert (response.status, response.body) == ((200, b"200000") if reads else (413, b"no"))
        assert on_slow_path == [b"/"]


async def test_a_maximum_is_kept_strictly() -> None:
    """Twelve clients, two slots: never more than two requests, and 503 for who finds none."""
    now = most = 0

    async def busy(exchange: Exchange) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(0.001)
        now -= 1
        await exchange.respond(b"ok")

    statuses: list[int] = []

    async def ask(url: str) -> None:
        async with open_client(url) as client:
            for _ in range(25):
                await client.send(get())
                statuses.append((await client.read_response()).status)

    async with (
        open_backend(busy) as backend,
        open_balancer({"url": backend.url, "max_connections": 2}, health_check="off") as balancer,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(ask, balancer.addresses[0])
        assert balancer.statistics().total_active == 0
    assert most == 2
    assert set(statuses) == {200, 503}
    assert len(statuses) == 300


async def test_the_access_log_is_the_same(tmp_path: Path) -> None:
    async def cut_at_the_end(exchange: Exchange) -> None:
        if exchange.request.target == "/cut":
            await exchange.read_body()
            await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
            await trio.sleep(0.01)
            await exchange.close()
        else:
            await OK(exchange)

    logs = []
    for fast_path in (True, False):
        path = tmp_path / ("fast" if fast_path else "slow")
        async with (
            open_backend(cut_at_the_end) as backend,
            open_balancer(
                {"url": backend.url, "name": "it"},
                health_check="off",
                fast_path=fast_path,
                access_log=str(path),
                access_log_format="json",
            ) as balancer,
            open_client(balancer.addresses[0]) as client,
        ):
            for data in (
                get("/a?b", "User-Agent: me", "Referer: x", "X-Request-ID: mine"),
                get("/c", method="HEAD"),
                get("http://example.org/d?e"),
                get(
                    "/",
                    'USER-AGENT: a"b\\c \xe9',
                    "user-agent: another",
                    "rEFERER: \xff",
                    "x-agent-of: x",
                ),
                get("/", "Users-Agent: not it", "Refered: nor this", "Referer:"),
                post(b"abc"),
                post_chunks(b"abc", b"defgh", target="/e?f"),
                post_chunks(b"abc", end=b"0\r\nX-End: 1\r\n\r\n"),
                post_chunks(b"x" * 100_000),
                ODD,
                get("/cut", "User-Agent: me", "X-Request-ID: mine"),
            ):
                await client.send(data)
                await client.read_response(data.partition(b" ")[0].decode())
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in records:
            for key in ("time", "duration_s"):
                record.pop(key)
            if record["request_id"] != "mine":
                record["request_id"] = bool(record["request_id"])
            for attempt in record["attempts"]:
                attempt.pop("duration_s")
                attempt["outcome"] = attempt["outcome"] == "ok"
            record["ended"] = record["ended"] == "ok"
        logs.append(records)
    assert len(logs[0]) == 11
    assert logs[0] == logs[1]


@both_paths
async def test_the_times_of_the_access_log_are_those_of_the_whole_request(
    fast_path: bool, tmp_path: Path, mock_clock: MockClock
) -> None:
    """Whichever path has begun it, and however it ends: what was begun keeps its begin."""

    async def by_target(exchange: Exchange) -> None:
        await exchange.read_body()
        match exchange.request.target:
            case "/without-a-length":
                await trio.sleep(1)
                await exchange.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
                await trio.sleep(2)
                await exchange.close()
            case "/events":
                await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                await trio.sleep_forever()
            case "/cut":
                await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
                await trio.sleep(3)
                await exchange.close()
            case "/never":
                await trio.sleep_forever()

    path = tmp_path / "log"
    async with (
        open_backend(by_target) as backend,
        open_balancer(
            backend.url,
            health_check="off",
            fast_path=fast_path,
            timeout=2,
            retries=0,
            access_log=str(path),
            access_log_format="json",
        ) as balancer,
    ):
        for target in ("/without-a-length", "/never", "/cut", "/..#refused", "/events"):
            async with open_client(balancer.addresses[0]) as client:
                head = get(target)
                mock_clock.autojump_threshold = math.inf
                await client.send(head[:10])
                await eventually(lambda: balancer.statistics().client_connections)
                await wait_all_tasks_blocked(0.02)
                mock_clock.autojump_threshold = 0
                await trio.sleep(0.25)
                await client.send(head[10:])
                if target == "/events":
                    await trio.sleep(3)
                else:
                    await client.read_response()
        await eventually(lambda: not balancer.statistics().client_connections)
        # Who waits for the thread that writes the log is idle to the clock, which would jump past
        # the time that the last lines may take.
        mock_clock.autojump_threshold = math.inf
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:  # what became of the attempt is what became of the request
        outcomes = [attempt["outcome"] for attempt in record["attempts"]]
        assert outcomes == [record["reason"] or "ok"] * (record["ended"] != "refused")
    seen = [
        (record["target"], record["status"], record["ended"], record["bytes_sent"] > 0)
        for record in records
    ]
    assert seen == [
        ("/without-a-length", 200, "ok", True),
        ("/never", 504, "timeout", True),
        ("/cut", 200, "server cut", True),
        ("/..#refused", 400, "refused", True),
        ("/events", 200, "client gone", False),
    ]
    assert all((record["reason"] is None) is (record["ended"] == "ok") for record in records)
    durations = [record["duration_s"] for record in records]
    assert durations == pytest.approx([3.25, 2.25, 3.25, 0.25, 3.25], abs=0.24)
    attempts = [attempt["duration_s"] for record in records[:3] for attempt in record["attempts"]]
    assert attempts == pytest.approx([3, 2, 3], abs=0.2)


@both_paths
async def test_the_time_of_an_empty_line_is_not_that_of_the_next_request(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """One behind a body, as some clients send it; the next head comes later, in two pieces."""
    async with (
        open_backend(OK) as server,
        open_balancer(
            server.url, health_check="off", fast_path=fast_path, timeouts={"client_head": 3}
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(2):
            await client.send(post(b"body") + b"\r\n")
            assert (await client.read_response()).status == 200
            await trio.sleep(20)
        await client.send(get()[:20])
        await trio.sleep(2)
        await client.send(get()[20:])
        assert (await client.read_response()).status == 200
