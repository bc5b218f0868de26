"""Servers behind names: look-ups that fail or hang, and names that lead somewhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.client import request
from tests.support.names import again, nobodys
from tests.support.paths import both_paths

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.names import Names

CHECKS = {"path": "/well", "interval": "5s", "timeout": "3s", "jitter": 0}


@both_paths
@pytest.mark.parametrize("hangs", [False, True])
async def test_row_29_name_servers_that_fail_take_nobody_out(
    fast_path: bool, hangs: bool, names: Names, autojump_clock: MockClock
) -> None:
    """Neither by traffic nor by checks: the last good addresses are used."""
    names.answers = {"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}
    upstream = {"idle_connections": 0}  # each request dials
    async with (
        open_backend(besides_checks(scripts.answer(b"a"))) as a,
        open_backend(besides_checks(scripts.answer(b"b"))) as b,
        open_balancer(
            f"http://a.test:{a.port}",
            f"http://b.test:{b.port}",
            fast_path=fast_path,
            upstream=upstream,
            health_check=CHECKS,
        ) as balancer,
    ):
        url = balancer.addresses[0]
        assert {(await request(url)).body for _ in range(4)} == {b"a", b"b"}
        for name in names.answers:
            names.answers[name] = None if hangs else again()
        for _ in range(20):
            assert (await request(url)).status == 200
            await trio.sleep(1)
        assert states(balancer) == ["alive", "alive"]
        assert [server.failed for server in balancer.statistics().servers] == [0, 0]


@both_paths
@pytest.mark.parametrize("hangs", [False, True])
async def test_a_server_whose_name_was_never_found_is_left_to_itself(
    fast_path: bool,
    hangs: bool,
    names: Names,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Requests go to another one, nobody is blamed; it is served from when the name is there."""
    names.answers = {"a.test": None if hangs else again(), "b.test": ["127.0.0.1"]}
    async with (
        open_backend(besides_checks(scripts.answer(b"a"))) as a,
        open_backend(besides_checks(scripts.answer(b"b"))) as b,
        open_balancer(
            f"http://a.test:{a.port}",
            f"http://b.test:{b.port}",
            fast_path=fast_path,
            health_check=CHECKS,
        ) as balancer,
    ):
        url = balancer.addresses[0]
        assert any("could not be checked" in each for each in caplog.messages)
        began = trio.current_time()
        for _ in range(10):
            assert (await request(url)).body == b"b"
        assert trio.current_time() - began < 3, "not every request waits for the name"
        assert states(balancer) == ["alive", "alive"]
        assert not asked(a)
        if not hangs:
            names.answers["a.test"] = ["127.0.0.1"]
            await trio.sleep(2)
            assert {(await request(url)).body for _ in range(4)} == {b"a", b"b"}


@both_paths
async def test_a_name_that_nobody_has_is_told_by_its_check(
    fast_path: bool, names: Names, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    names.answers = {"a.test": nobodys()}
    async with open_balancer(
        "http://a.test:1", fast_path=fast_path, health_check=CHECKS
    ) as balancer:
        assert states(balancer) == ["dead"]
        assert (await request(balancer.addresses[0])).status == 503
    reason = "connect: the name does not resolve: Name or service not known (servers[].url)"
    assert any(reason in each for each in caplog.messages)


@both_paths
async def test_with_no_name_at_all_the_answer_is_503(
    fast_path: bool, names: Names, autojump_clock: MockClock
) -> None:
    names.answers = {"a.test": again()}
    async with open_balancer(
        "http://a.test:1", fast_path=fast_path, health_check="off"
    ) as balancer:
        for _ in range(3):
            assert (await request(balancer.addresses[0])).status == 503
        assert states(balancer) == ["alive"]


@both_paths
async def test_a_name_that_moves_takes_its_idle_connections_along(
    fast_path: bool, names: Names, autojump_clock: MockClock
) -> None:
    names.answers = {"a.test": ["127.0.0.1"]}
    async with (
        open_backend(scripts.answer(b"old")) as old,
        open_backend(scripts.answer(b"new"), host="127.0.0.2") as new,
    ):
        await new.stop()
        new.port = old.port
        await new.start()
        async with open_balancer(
            f"http://a.test:{old.port}",
            fast_path=fast_path,
            upstream={"idle_timeout": "1h"},
            health_check="off",
        ) as balancer:
            url = balancer.addresses[0]
            assert (await request(url)).body == b"old"
            names.answers["a.test"] = ["127.0.0.2"]
            await trio.sleep(32)
            await old.wait_until(lambda backend: not backend.open_connections)
            assert (await request(url)).body == b"new"
            assert len(old.connections) == 1
            assert len(new.connections) == 1


@both_paths
async def test_no_connection_is_kept_for_longer_than_its_age(
    fast_path: bool, names: Names, autojump_clock: MockClock
) -> None:
    """However busy it is."""
    async with (
        open_backend(scripts.answer(b"x")) as backend,
        open_balancer(
            backend.url, fast_path=fast_path, upstream={"max_age": "10s"}, health_check="off"
        ) as balancer,
    ):
        for _ in range(60):
            assert (await request(balancer.addresses[0])).body == b"x"
            await trio.sleep(0.5)
        assert 3 <= len(backend.connections) <= 4


@both_paths
async def test_an_idle_connection_is_not_kept_for_longer_either(
    fast_path: bool, names: Names, autojump_clock: MockClock
) -> None:
    upstream = {"max_age": "10s", "idle_timeout": "1h"}
    async with (
        open_backend(scripts.answer(b"x")) as backend,
        open_balancer(
            backend.url, fast_path=fast_path, upstream=upstream, health_check="off"
        ) as balancer,
    ):
        await request(balancer.addresses[0])
        await trio.sleep(8)
        assert backend.open_connections
        await trio.sleep(4)
        await backend.wait_until(lambda backend: not backend.open_connections)
