"""Health checks in virtual time, over real loopback sockets."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import End, open_backend
from tests.support.balancer import pool_of
from tests.support.names import nobodys
from tests.support.net import black_hole, free_port, http_url
from trio_lb.errors import ConnectFailed
from trio_lb.health import HealthChecker
from trio_lb.http.proxy_protocol import LOCAL
from trio_lb.http1.compiled_codec import CODECS
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.dial import Dialler
from trio_lb.net.resolver import Resolver
from trio_lb.pool import Member, ServerPool, State, StateChange
from trio_lb.upstream.connector import Connector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script
    from tests.support.names import Names
    from trio_lb.net.dial import Dial
    from trio_lb.net.transport import Transport
    from trio_lb.plan import Address, PoolPlan

ALIVE, DEAD = State.ALIVE, State.DEAD

NOBODYS = nobodys().strerror
HINT = "set health_check.path, or health_check.statuses if that is healthy"


@dataclass
class Checked:
    """A pool under health checks, and when its states changed (seconds from the start)."""

    plan: PoolPlan
    pool: ServerPool
    changes: list[tuple[float, StateChange]] = field(default_factory=list)

    @property
    def server(self) -> Member:
        """The first one."""
        return self.pool.members[0]

    @property
    def reasons(self) -> list[str]:
        return [change.reason for _, change in self.changes]

    @property
    def times(self) -> list[float]:
        return [round(time, 3) for time, _ in self.changes]


@asynccontextmanager
async def checking(
    *servers: object, jitter: Callable[[], float] = lambda: 0.0, **settings: object
) -> AsyncIterator[Checked]:
    """Servers under checks from their first round on; `settings` are those of the checks."""
    plan = pool_of(*servers, health_check=settings)
    deadlines = Deadlines()
    start = trio.current_time()

    def notify(change: StateChange) -> None:
        checked.changes.append((trio.current_time() - start, change))

    checked = Checked(plan, ServerPool.private(plan.servers, plan.algorithm, notify=notify))
    resolver = Resolver()
    checker = HealthChecker(Connector(Dialler(resolver, deadlines).dial, CODECS.server), jitter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.watch_forever)
        nursery.start_soon(resolver.run)
        await checker.first_round(plan.health_check, checked.pool)
        await nursery.start(checker.run)
        checker.watch(plan.health_check, checked.pool)
        yield checked
        nursery.cancel_scope.cancel()
    assert len(deadlines) == 0, "a connection was not closed"


async def check_for(seconds: float, plan: PoolPlan, pool: ServerPool, dial: Dial) -> None:
    """Checks the pool's servers for so long."""
    checker = HealthChecker(Connector(dial, CODECS.server), lambda: 0.0)
    await checker.first_round(plan.health_check, pool)
    async with trio.open_nursery() as nursery:
        await nursery.start(checker.run)
        checker.watch(plan.health_check, pool)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


def noting(times: list[float], script: Script) -> Script:
    """Notes when it was asked."""

    async def note(exchange: Exchange) -> None:
        times.append(trio.current_time())
        await script(exchange)

    return note


async def test_the_interval_varies_by_the_jitter(autojump_clock: MockClock) -> None:
    times: list[float] = []
    shifts = iter([0.0, 1.0, -1.0, 0.5, 0.0])
    async with (
        open_backend(noting(times, scripts.answer())) as backend,
        checking(backend.url, jitter=lambda: next(shifts), interval="10s") as checked,
    ):
        await trio.sleep(45)
    assert [time - times[0] for time in times] == pytest.approx([0, 10, 21, 30, 40.5])
    assert not checked.changes


async def test_servers_are_not_checked_in_step(autojump_clock: MockClock) -> None:
    plan = pool_of("http://127.0.0.1:1", "http://127.0.0.1:2", health_check={"jitter": 0.2})
    times: dict[int, list[float]] = {1: [], 2: []}

    async def unresolvable(address: Address, seconds: float, *_: object) -> Transport:
        times[address.port].append(trio.current_time())
        raise ConnectFailed("out of descriptors", local=True)

    async with trio.open_nursery() as nursery:
        checker = HealthChecker(Connector(unresolvable, CODECS.server))
        await nursery.start(checker.run)
        checker.watch(plan.health_check, ServerPool.private(plan.servers, plan.algorithm))
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    for each in times.values():
        pauses = [late - early for early, late in itertools.pairwise(each)][1:]
        assert 8 <= min(pauses) < 9
        assert 11 < max(pauses) <= 12
    assert not set(times[1]) & set(times[2])


async def test_what_is_asked(autojump_clock: MockClock) -> None:
    async with (
        open_backend(scripts.answer()) as backend,
        checking(backend.url + "/app/", path="/well?deep=1"),
    ):
        pass
    (request,) = backend.requests
    assert (request.method, request.target) == ("GET", "/app/well?deep=1")
    assert request.headers == [
        ("host", backend.address),
        ("user-agent", "trio-lb-health-check"),
        ("accept", "*/*"),
        ("connection", "close"),
    ]


@pytest.mark.parametrize(
    ("statuses", "status", "state"),
    [
        (None, 200, ALIVE),
        (None, 204, ALIVE),
        (None, 302, ALIVE),
        (None, 404, ALIVE),
        (None, 499, ALIVE),
        (None, 500, DEAD),
        (None, 503, DEAD),
        (None, 599, DEAD),
        (204, 204, ALIVE),
        (204, 200, DEAD),
        ([204, "401-403"], 403, ALIVE),
        ([204, "401-403"], 404, DEAD),
    ],
)
async def test_statuses(statuses: object, status: int, state: State) -> None:
    settings: dict[str, Any] = {} if statuses is None else {"statuses": statuses}
    async with (
        open_backend(scripts.answer(b"", status)) as backend,
        checking(backend.url, **settings) as checked,
    ):
        assert checked.pool.state(checked.server) is state
        if state is DEAD:
            assert checked.reasons == [f"first health check: GET / answered {status}: {HINT}"]


@pytest.mark.parametrize(("status", "state"), [(200, ALIVE), (399, ALIVE), (404, DEAD)])
async def test_a_path_that_is_given_has_to_be_there(status: int, state: State) -> None:
    async with (
        open_backend(scripts.answer(b"", status)) as backend,
        checking(backend.url + "/app", path="/health") as checked,
    ):
        assert checked.pool.state(checked.server) is state
        if state is DEAD:
            [reason] = checked.reasons
            assert reason == f"first health check: GET /app/health answered 404: {HINT}"


async def test_how_it_is_asked_can_be_set(autojump_clock: MockClock) -> None:
    headers = {"Authorization": "Bearer x", "user-agent": "checker/1"}
    async with (
        open_backend(scripts.answer(b"body")) as backend,
        checking(
            backend.url, method="head", host="app.example", headers=headers, path="/up"
        ) as checked,
    ):
        assert checked.pool.state(checked.server) is ALIVE
    (request,) = backend.requests
    assert (request.method, request.target) == ("HEAD", "/up")
    assert request.headers == [
        ("host", "app.example"),
        ("accept", "*/*"),
        ("authorization", "Bearer x"),
        ("user-agent", "checker/1"),
        ("connection", "close"),
    ]


async def test_another_port_can_be_asked(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer(b"", 503)) as side:
        port = int(side.address.rpartition(":")[2])
        url = http_url("127.0.0.1", free_port())
        async with checking(url, port=port) as checked:
            assert checked.reasons == [
                f"first health check: GET / on port {port} answered 503: {HINT}"
            ]
        [request] = side.requests
        assert f"http://{dict(request.headers)['host']}" == url


async def test_what_came_from_the_environment_is_in_no_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "/hidden")
    monkeypatch.setenv("HOST", "127.0.0.1")
    async with open_backend(scripts.answer(b"", 500)) as backend:
        monkeypatch.setenv("PORT", str(backend.port))
        checks = checking(
            backend.url.replace("127.0.0.1", "${HOST}"), path="${SECRET}", port="${PORT}"
        )
        async with checks as checked:
            [reason] = checked.reasons
        where = f"http://${{HOST}}:{backend.port}${{SECRET}} on port ${{PORT}}"
        assert reason == f"first health check: GET {where} answered 500: {HINT}"
        assert backend.requests[0].target == "/hidden"


async def test_a_redirect_is_not_followed(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer()) as target:
        location = ("Location", target.url)
        async with (
            open_backend(scripts.answer(b"", 301, [location])) as backend,
            checking(backend.url, statuses=200) as checked,
        ):
            await trio.sleep(15)
            assert checked.pool.state(checked.server) is DEAD
        assert len(backend.requests) > 2
        assert not target.connections


async def test_interim_responses_come_before_the_answer() -> None:
    script = scripts.informational(103, [("Link", "</x>")], scripts.answer(b"", 204))
    async with open_backend(script) as backend, checking(backend.url, statuses=204) as checked:
        assert checked.pool.state(checked.server) is ALIVE


@pytest.mark.parametrize("size", [0, 1000, 60_000])
async def test_an_ordinary_answer_is_read_to_its_end(size: int) -> None:
    async with open_backend(scripts.bulk(size)) as backend:
        async with checking(backend.url) as checked:
            assert checked.pool.state(checked.server) is ALIVE
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end is not End.PEER_RESET


async def test_a_body_that_does_not_end_is_waited_for_a_second(autojump_clock: MockClock) -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await trio.sleep_forever()

    async with open_backend(stream) as backend:
        start = trio.current_time()
        async with checking(backend.url, timeout="5s") as checked:
            assert checked.pool.state(checked.server) is ALIVE
            assert trio.current_time() - start == pytest.approx(1, abs=0.11)


@pytest.mark.parametrize("rest", [b"", b"zz\r\n"])
async def test_what_is_wrong_with_a_body_does_not_count(rest: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        open_backend(scripts.raw(head + rest, reset=False)) as backend,
        checking(backend.url) as checked,
    ):
        assert checked.pool.state(checked.server) is ALIVE


async def test_a_large_body_is_not_read_to_its_end(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.bulk(1 << 30)) as backend:
        async with checking(backend.url) as checked:
            assert checked.pool.state(checked.server) is ALIVE
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end is End.PEER_RESET


async def dripping(exchange: Exchange) -> None:
    """A head without an end, a few bytes every second."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await trio.sleep(1)
        await exchange.send(b"X: y\r\n")


@pytest.mark.parametrize(
    "script",
    [scripts.hang(), scripts.hang(reads=False), dripping, scripts.delayed(6, scripts.answer())],
)
async def test_no_answer_in_time(script: Script, autojump_clock: MockClock) -> None:
    async with open_backend(script) as backend:
        start = trio.current_time()
        async with checking(backend.url, timeout="5s") as checked:
            assert trio.current_time() - start == pytest.approx(5, abs=0.11)
            assert checked.reasons == [
                "first health check: GET /: no answer within health_check.timeout, 5 s"
            ]


async def test_an_answer_just_in_time(autojump_clock: MockClock) -> None:
    async with (
        open_backend(scripts.delayed(4.9, scripts.answer())) as backend,
        checking(backend.url, timeout="5s") as checked,
    ):
        assert checked.pool.state(checked.server) is ALIVE


async def test_a_timeout_longer_than_the_interval_is_cut_to_it(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.hang()) as backend:
        start = trio.current_time()
        async with checking(backend.url, timeout="5s", interval="1s"):
            assert trio.current_time() - start == pytest.approx(1, abs=0.11)


async def test_no_connection_in_time(autojump_clock: MockClock) -> None:
    with black_hole() as url:
        async with checking(url, timeout="3s") as checked:
            assert checked.reasons == ["first health check: connect: no answer within 3 s"]
            assert checked.times == [3]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (scripts.garbage_head(), "the server sent a malformed response"),
        (scripts.endless_head(), "the server's response head is too large"),
        (scripts.raw(b"", reset=False), "the server closed the connection without a response"),
        (scripts.raw(b"HTTP/1.1 200 OK\r\nX:", reset=False), "the server closed the connection"),
        (scripts.raw(b"", reset=True), "the server reset the connection"),
        (
            scripts.raw(b"SSH-2.0-OpenSSH_9.2\r\n", reset=False),
            "the server's response is not HTTP/1",
        ),
        (
            scripts.raw(b"HTTP/1.1 102 Processing\r\n\r\n" * 5000, reset=False),
            "the server sent too many interim responses",
        ),
    ],
)
async def test_an_answer_that_is_none(script: Script, problem: str) -> None:
    async with open_backend(script) as backend, checking(backend.url) as checked:
        assert checked.pool.state(checked.server) is DEAD
        assert checked.reasons[0].startswith(f"first health check: GET /: {problem}")


async def test_rise_and_fall(autojump_clock: MockClock) -> None:
    """The first check decides alone; later ones need so many in a row."""
    statuses = [200, 500, 500, 200, 500, 500, 500, 200, 500, 200, 200, 500]
    answers = scripts.in_turn(*(scripts.answer(b"", status) for status in statuses))
    async with (
        open_backend(answers) as backend,
        checking(backend.url, interval="10s", rise=2, fall=3) as checked,
    ):
        await trio.sleep(115)
    # Out at its third failure, then asked after 0.2, 0.5, 1 and 2 s: well, ill, well, well.
    assert checked.times == [60, 63.7, 93.7]
    assert checked.reasons == [
        f"health check: GET / answered 500: {HINT}",
        "health check passed",
        f"health check: GET / answered 500: {HINT}",
    ]


async def test_the_first_round_decides_alone(autojump_clock: MockClock) -> None:
    answers = scripts.in_turn(scripts.answer(b"", 500), scripts.answer(b"", 200))
    async with (
        open_backend(answers) as backend,
        checking(backend.url, interval="10s", rise=2, fall=3) as checked,
    ):
        assert checked.pool.state(checked.server) is DEAD
        await trio.sleep(25)
        assert checked.times == [0, 0.7]


async def test_a_server_that_is_down_at_the_start_comes_later(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer()) as backend:
        await backend.stop()
        async with checking(backend.url, interval="10s") as checked:
            assert checked.reasons == ["first health check: connect: Connection refused"]
            await trio.sleep(12)
            await backend.start()
            await trio.sleep(12)
            assert checked.pool.state(checked.server) is ALIVE
            await backend.kill()
            await trio.sleep(12)
            assert checked.pool.state(checked.server) is DEAD
            assert checked.times == [0, 18.7, 28.7]


async def test_the_first_round_is_bounded_and_complete(autojump_clock: MockClock) -> None:
    ports = range(1, 1001)
    plan = pool_of(*(f"http://127.0.0.1:{port}" for port in ports))
    running, most, asked = 0, 0, []

    async def time_out(address: Address, seconds: float, *_: object) -> Transport:
        nonlocal running, most
        running += 1
        most = max(most, running)
        asked.append(address.port)
        await trio.sleep(seconds)
        running -= 1
        raise ConnectFailed("no answer")

    pool = ServerPool.private(plan.servers, plan.algorithm)
    await HealthChecker(Connector(time_out, CODECS.server)).first_round(plan.health_check, pool)
    assert sorted(asked) == list(ports)
    assert 16 <= most <= 64
    assert pool.alive_count == 0


async def test_off_means_no_first_round_and_no_checks(autojump_clock: MockClock) -> None:
    plan = pool_of("http://127.0.0.1:1", health_check="off")

    async def never(address: Address, seconds: float, *_: object) -> Transport:
        raise AssertionError

    pool = ServerPool.private(plan.servers, plan.algorithm)
    await check_for(100, plan, pool, never)
    assert pool.state(pool.members[0]) is ALIVE


async def test_off_still_brings_a_server_back_by_connecting(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer()) as backend:
        async with checking(backend.url, enabled="off", interval="10s") as checked:
            checked.pool.mark_down(checked.server, "refused")
            await backend.stop()
            await trio.sleep(25)
            assert checked.pool.state(checked.server) is DEAD
            await backend.start()
            await trio.sleep(10)
            assert checked.times == [0, 28.7]
        assert len(backend.connections) == 1
        assert not backend.requests


async def test_being_out_of_descriptors_is_no_servers_fault(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    plan = pool_of("http://127.0.0.1:1")
    pool = ServerPool.private(plan.servers, plan.algorithm)

    async def fail(address: Address, seconds: float, *_: object) -> Transport:
        raise ConnectFailed("connect: Too many open files", 503, local=True)

    await check_for(25, plan, pool, fail)
    assert pool.state(pool.members[0]) is ALIVE
    message = "server http://127.0.0.1:1 could not be checked: connect: Too many open files"
    assert caplog.messages == [message] * 4  # who was not checked at first is asked again at once


async def test_a_check_from_before_the_failure_brings_nobody_back(
    autojump_clock: MockClock,
) -> None:
    answers = scripts.in_turn(scripts.answer(), scripts.delayed(3, scripts.answer()))
    async with (
        open_backend(answers) as backend,
        checking(backend.url, interval="10s") as checked,
    ):
        await trio.sleep(11)  # the second check has begun
        checked.pool.mark_down(checked.server, "refused")
        await trio.sleep(3)  # and has passed
        assert checked.pool.state(checked.server) is DEAD
        await trio.sleep(13)
        assert checked.pool.state(checked.server) is ALIVE


async def test_a_server_that_cannot_be_reached_at_all(names: Names) -> None:
    names.answers["no-such-host.invalid"] = nobodys()
    urls = ["http://no-such-host.invalid", f"unix:/nowhere/{free_port()}", "http://[::1]:1"]
    async with checking(*urls, http_url("127.0.0.1", free_port())) as checked:
        assert checked.pool.alive_count == 0
        assert sorted(checked.reasons) == [
            "first health check: connect: Connection refused",
            "first health check: connect: Connection refused",
            "first health check: connect: No such file or directory",
            f"first health check: connect: the name does not resolve: {NOBODYS} (servers[].url)",
        ]


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_check_announces_itself_and_no_client(
    version: str, autojump_clock: MockClock
) -> None:
    async with open_backend(scripts.answer()) as backend:
        backend.proxy_protocol = True
        server = {"url": backend.url, "send_proxy": version}
        async with checking(server) as checked:
            assert checked.pool.state(checked.server) is ALIVE
        [connection] = backend.connections
        assert connection.proxy_header == LOCAL
        start = b"PROXY UNKNOWN\r\n" if version == "v1" else b"\r\n\r\n\0\r\nQUIT\n\x20"
        assert bytes(connection.received).startswith(start)


async def test_who_fails_requests_and_passes_checks_is_not_back_at_once(
    autojump_clock: MockClock,
) -> None:
    """Its checks had passed all the time: for an interval they say nothing."""
    async with (
        open_backend(scripts.answer()) as backend,
        open_backend(scripts.answer()) as other,
        checking(backend.url, other.url, interval="10s") as checked,
    ):
        await trio.sleep(1)
        assert checked.pool.mark_down(checked.server, "3 failures in a row", keep_last=True)
        await trio.sleep(9)
        assert checked.pool.state(checked.server) is DEAD
        await trio.sleep(2)
        assert checked.pool.state(checked.server) is ALIVE


async def test_a_check_that_fails_shows_that_checks_tell(autojump_clock: MockClock) -> None:
    answers = scripts.in_turn(
        scripts.answer(), scripts.answer(b"", 503), scripts.answer(), scripts.answer()
    )
    async with (
        open_backend(answers) as backend,
        open_backend(scripts.answer()) as other,
        checking(backend.url, other.url, interval="10s") as checked,
    ):
        await trio.sleep(1)
        assert checked.pool.mark_down(checked.server, "3 failures in a row", keep_last=True)
        await trio.sleep(1)
        assert checked.pool.state(checked.server) is ALIVE


async def test_who_is_needed_is_back_at_once(autojump_clock: MockClock) -> None:
    async with (
        open_backend(scripts.answer()) as backend,
        open_backend(scripts.answer()) as other,
        checking(backend.url, other.url, interval="10s") as checked,
    ):
        await trio.sleep(1)
        assert checked.pool.mark_down(checked.server, "3 failures in a row", keep_last=True)
        await trio.sleep(1)
        assert checked.pool.state(checked.server) is DEAD
        await other.stop()
        assert checked.pool.mark_down(checked.pool.members[1], "refused")
        checked.pool.want(trio.current_time())
        await trio.sleep(0.5)
        assert checked.pool.state(checked.server) is ALIVE
