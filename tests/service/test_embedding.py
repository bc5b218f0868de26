"""A load balancer inside another Trio program: what it offers, how it ends, what it leaves."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio
import trio.testing

import trio_lb
from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, profile_of, states
from tests.support.client import End, open_client, request
from tests.support.leaks import nothing_left
from tests.support.net import free_port, http_url
from trio_lb.runtime.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_addresses_have_the_ports_that_the_system_chose(tmp_path: Path) -> None:
    listen = ["http://127.0.0.1:0", "http://127.0.0.1:0", "http://[::1]:0", f"unix:{tmp_path}/s"]
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url, listen=listen) as balancer,
    ):
        first, second, v6, unix = balancer.addresses
        assert len({urlsplit(first).port, urlsplit(second).port, 0}) == 3
        assert v6.startswith("http://[::1]:")
        assert unix == f"unix:{tmp_path}/s"
        for address in balancer.addresses:
            assert (await request(address)).body == b"hello"
        assert [each.header("x-real-ip") for each in asked(backend)] == [
            "127.0.0.1", "127.0.0.1", "::1", "unknown",
        ]  # fmt: skip
        assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)
    assert not (tmp_path / "s").exists()


async def test_every_interface_means_ipv4_and_ipv6_at_one_port() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url, listen="http://*:0") as balancer,
    ):
        ports = {urlsplit(address).port for address in balancer.addresses}
        assert len(ports) == 1
        for host in ("127.0.0.1", "::1"):
            assert (await request(http_url(host, ports.copy().pop() or 0))).body == b"hello"


async def test_a_server_may_be_a_unix_socket_or_have_ipv6_or_a_path(tmp_path: Path) -> None:
    for options, path in (({"unix": tmp_path / "app"}, ""), ({"host": "::1"}, "/below")):
        async with (
            open_backend(besides_checks(scripts.answer(b"hello")), **options) as backend,
            open_balancer(backend.url + path) as balancer,
        ):
            assert (await request(balancer.addresses[0] + "/x?y")).body == b"hello"
            assert backend.requests[-1].target == f"{path}/x?y"


async def test_a_profile_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("listen: http://127.0.0.1:0\nservers: [http://127.0.0.1:1]\n")
    async with trio_lb.open_load_balancer(file) as balancer:
        assert states(balancer) == ["dead"]
    file.write_text("servers: 1\n")
    with pytest.raises(trio_lb.ProfileError, match=r"x\.yaml:1:10: servers"):
        async with trio_lb.open_load_balancer(file):
            raise AssertionError


async def test_statistics_are_what_happened(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.delayed(0.25, scripts.answer(b"12345")))) as a,
        open_backend(besides_checks(scripts.answer(b"no", 404))) as b,
        open_balancer(
            a.url, {"url": b.url, "weight": 3, "max_connections": 7, "name": "b"}
        ) as balancer,
    ):
        before = balancer.statistics()
        assert (before.requests_total, before.client_connections_total) == (0, 0)
        assert [server.response_time_s for server in before.servers] == [None, None]
        url = balancer.addresses[0]
        assert (await request(url, "POST", body=b"123")).body == b"12345"
        async with open_client(url) as client:
            await client.send(GET)
            assert (await client.read_response()).status == 404
            await client.send(GET)
            await trio.sleep(0.1)
            busy = balancer.statistics()
            assert [server.active for server in busy.servers] == [1, 0]
            assert (busy.client_connections, busy.total_active) == (1, 1)
            await client.read_response()
        assert (await request(url, "POST", headers=[("Host", "twice")])).status == 400
        await trio.sleep(1)
        now = balancer.statistics()
        first, second = now.servers
        assert (first.name, first.address, first.state) == (a.url, a.url, "alive")
        assert (first.weight, first.max_connections, first.active) == (1, 0, 0)
        assert (first.served, first.failed) == (2, 0)
        assert (first.bytes_received, first.bytes_sent) == (10, 3)
        assert first.response_time_s == pytest.approx(0.25)
        assert first.p50_s == pytest.approx(0.25, rel=0.125)
        assert (second.name, second.weight, second.max_connections) == ("b", 3, 7)
        assert (second.served, second.bytes_received, second.bytes_sent) == (1, 2, 0)
        assert now.responses_by_class == {"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 2, "5xx": 0}
        assert (now.requests_total, now.client_connections_total) == (4, 3)
        assert (now.client_connections, now.total_active, now.alive_servers) == (0, 0, 2)
        assert now.uptime_s == pytest.approx(1 + 2 * 0.25)
        assert now.algorithm == "round_robin"


async def test_leaving_ends_everything_at_once() -> None:
    async with open_backend(besides_checks(scripts.hang())) as backend:
        with nothing_left():
            async with (
                open_balancer(backend.url) as balancer,
                open_client(balancer.addresses[0]),  # says nothing
                open_client(balancer.addresses[0]) as client,
            ):
                address = balancer.addresses[0]
                await client.send(GET)
                await backend.wait_until(lambda backend: bool(asked(backend)))
            await backend.wait_until(lambda backend: not backend.open_connections)
        with pytest.raises(OSError, match="attempts to connect"):
            await request(address)


async def test_clients_are_cut_when_it_is_left() -> None:
    ends: list[End] = []

    async def be_served(url: str) -> None:
        async with open_client(url) as client:
            await client.send(GET)
            ends.append((await client.read_response()).end)

    async with open_backend(besides_checks(scripts.hang())) as backend:
        async with trio.open_nursery() as nursery, open_balancer(backend.url) as balancer:
            nursery.start_soon(be_served, balancer.addresses[0])
            await backend.wait_until(lambda backend: bool(asked(backend)))
        assert ends == [End.EOF]


class OurOwnError(Exception):
    pass


class OurOwnGroup(ExceptionGroup[OurOwnError]):
    """`split` makes plain groups of it, as for all that do not say otherwise."""


@pytest.mark.parametrize(
    "mine",
    [
        OurOwnError("mine"),
        KeyboardInterrupt("mine"),
        SystemExit("mine"),
        OurOwnGroup("mine", [OurOwnError("one of them")]),
    ],
    ids=lambda mine: type(mine).__name__,
)
async def test_an_exception_comes_out_bare(mine: BaseException) -> None:
    async with open_backend(besides_checks(scripts.answer())) as backend:
        with nothing_left():
            with pytest.raises(type(mine)) as caught:
                async with open_balancer(backend.url):
                    raise mine
            assert caught.value is mine
            await backend.wait_until(lambda backend: not backend.open_connections)


@pytest.mark.parametrize("body_notices", [False, True])
async def test_the_crash_of_a_task_comes_out(
    body_notices: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not only what it cancels, which a scope further out may take for its own."""
    bug = OurOwnError("bug")

    async def crash(_: Service) -> None:
        await crashing.wait()
        raise bug

    crashing = trio.Event()
    monkeypatch.setattr(Service, "maintain", crash)
    with pytest.RaisesGroup(OurOwnError, flatten_subgroups=True):
        async with (
            open_backend(besides_checks(scripts.answer())) as backend,
            open_balancer(backend.url),
        ):
            crashing.set()
            if body_notices:
                await trio.sleep_forever()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()


async def test_an_exception_is_not_lost_under_cancellation() -> None:
    mine = OurOwnError()
    async with open_backend(besides_checks(scripts.answer())) as backend:

        async def fail() -> None:
            with trio.CancelScope() as scope:
                async with open_balancer(backend.url):
                    scope.cancel()
                    raise mine

        with pytest.raises(OurOwnError):
            await fail()


async def test_cancellation_leaves_nothing(tmp_path: Path) -> None:
    listen = ["http://127.0.0.1:0", f"unix:{tmp_path}/s"]
    async with open_backend(besides_checks(scripts.answer())) as backend:
        with nothing_left():
            with trio.CancelScope() as scope:
                async with open_balancer(backend.url, listen=listen) as balancer:
                    for _ in range(3):
                        assert (await request(balancer.addresses[0])).complete
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            await backend.wait_until(lambda backend: not backend.open_connections)
    assert not (tmp_path / "s").exists()


async def test_cancellation_during_the_first_checks_leaves_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_backend(scripts.hang()) as backend:
        with nothing_left():
            with trio.move_on_after(1) as scope:
                async with open_balancer(backend.url, listen=[f"unix:{tmp_path}/s"]):
                    raise AssertionError
            assert scope.cancelled_caught
            await backend.wait_until(lambda backend: not backend.open_connections)
    assert not (tmp_path / "s").exists()


async def test_an_address_in_use_starts_nothing(tmp_path: Path) -> None:
    free = http_url("127.0.0.1", free_port())
    async with open_backend(scripts.answer()) as backend:
        with socket.create_server(("127.0.0.1", 0)) as taken, nothing_left():
            used = http_url("127.0.0.1", taken.getsockname()[1])
            with pytest.raises(trio_lb.ListenError) as caught:
                async with open_balancer(backend.url, listen=[f"unix:{tmp_path}/s", free, used]):
                    raise AssertionError
            assert str(caught.value) == f"cannot listen on {used}: Address already in use"
        assert not (tmp_path / "s").exists()
        assert not backend.requests
        async with open_balancer(backend.url, listen=free) as balancer:  # it was let go
            assert balancer.addresses == (free,)


async def test_an_access_log_that_cannot_be_opened_is_no_leak(tmp_path: Path) -> None:
    async with open_backend(besides_checks(scripts.answer())) as backend:
        with nothing_left():
            async with open_balancer(
                backend.url, access_log=str(tmp_path / "missing" / "log")
            ) as balancer:
                assert (await request(balancer.addresses[0])).complete
            await backend.wait_until(lambda backend: not backend.open_connections)


async def test_two_balancers_in_one_program() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"a"))) as a,
        open_backend(besides_checks(scripts.answer(b"b"))) as b,
        open_balancer(a.url) as one,
    ):
        async with open_balancer(b.url) as two:
            assert (await request(one.addresses[0])).body == b"a"
            assert (await request(two.addresses[0])).body == b"b"
            await b.kill()
            assert (await request(two.addresses[0])).status == 503
        assert (states(one), states(two)) == (["alive"], ["dead"])
        assert (await request(one.addresses[0])).body == b"a"
        assert one.statistics().requests_total == 2


async def test_one_in_front_of_another() -> None:
    async with (
        open_backend(besides_checks(scripts.echo())) as backend,
        open_balancer(backend.url) as inner,
        open_balancer(inner.addresses[0]) as outer,
    ):
        response = await request(outer.addresses[0], "POST", body=b"x" * 100_000)
        assert response.body == b"x" * 100_000
        assert response.header("via") == "1.1 trio-lb, 1.1 trio-lb"
        assert asked(backend)[0].header("via") == "1.1 trio-lb, 1.1 trio-lb"


async def test_the_example_of_the_documentation_holds() -> None:
    profile = profile_of("http://127.0.0.1:1", "http://127.0.0.1:2")
    async with trio_lb.open_load_balancer(profile) as balancer:
        assert balancer.profile is profile
        assert repr(balancer) == f"<LoadBalancer {balancer.addresses[0]} 0 clients>"
        assert [server.state for server in balancer.statistics().servers] == ["dead", "dead"]
        assert await balancer.drain()


async def test_a_build_without_the_fast_path_serves_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trio_lb.proxy.build_fast_path.find_spec", lambda _: None)
    caplog.set_level("DEBUG", "trio_lb.proxy")
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url) as balancer,
    ):
        assert (await request(balancer.addresses[0])).body == b"hello"
    assert "no fast path in this build: the slow path serves everything" in caplog.messages
