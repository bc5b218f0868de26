"""Reloads that change servers only: workers take them as they are."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from tests.support import scripts, tunnels
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks
from tests.support.client import open_client, request
from tests.support.load import Load
from tests.support.net import free_port, http_url
from tests.support.supervised import GET, open_supervisor, supervised_profile, until
from trio_lb.pool import Members
from trio_lb.supervise import monitor as monitor
from trio_lb.supervise.messages import SetMembers

if TYPE_CHECKING:
    import pytest

    from tests.support.backend import Backend
    from tests.support.supervised import Supervised

OK = besides_checks(scripts.answer())


def slots(balancer: Supervised) -> set[int]:
    return set(balancer.supervisor._table.servers)


async def servers(stack: AsyncExitStack, *names: bytes) -> list[Backend]:
    return [
        await stack.enter_async_context(open_backend(besides_checks(scripts.answer(name))))
        for name in names
    ]


async def test_servers_come_and_go_without_a_new_process() -> None:
    async with AsyncExitStack() as stack:
        one, two, three = await servers(stack, b"one", b"two", b"three")
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=2))
        pids = balancer.pids
        client = await stack.enter_async_context(open_client(balancer.url))

        async def bodies(count: int = 24) -> list[bytes]:
            found = []
            for _ in range(count):
                await client.send(GET)
                response = await client.read_response()
                assert response.header("connection") is None
                found.append(response.body)
            return found

        assert set(await bodies()) == {b"one"}
        await balancer.reload(one.url, two.url, three.url, workers=2)
        found = await bodies()
        assert [found.count(each) for each in (b"one", b"two", b"three")] == [8, 8, 8]
        weighted = [{"url": two.url, "weight": 3}, {"url": three.url, "weight": 1}]
        await balancer.reload(*weighted, workers=2, algorithm="wrr")
        found = await bodies()
        assert (found.count(b"two"), found.count(b"three")) == (18, 6)
        assert balancer.statistics().algorithm == "weighted_round_robin"
        await balancer.reload({"url": three.url, "name": "the third"}, workers=2)
        assert set(await bodies()) == {b"three"}
        assert [each.name for each in balancer.statistics().servers] == ["the third"]
        assert balancer.pids == pids
        await until(lambda: len(slots(balancer)) == 1)
        assert sum(each.served for each in balancer.statistics().workers) == 24 * 4


async def test_other_settings_take_new_processes() -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        pids = balancer.pids
        await balancer.reload(backend.url, limits={"headers": 99})
        await until(lambda: len(balancer.pids) == 2)
        assert not set(pids) & set(balancer.pids)
        # Connections that begin with a PROXY header are made on the slow path.
        pids = balancer.pids
        await balancer.reload({"url": backend.url, "send_proxy": "v1"}, limits={"headers": 99})
        await until(lambda: len(balancer.pids) == 2)
        assert not set(pids) & set(balancer.pids)


async def test_a_request_to_a_server_that_is_removed_is_finished() -> None:
    async with (
        open_backend(besides_checks(scripts.delayed(1.0, scripts.answer(b"slow")))) as slow,
        open_backend(OK) as other,
        open_supervisor(slow.url, workers=1) as balancer,
        open_client(balancer.url) as client,
    ):
        await client.send(GET)
        await slow.wait_until(lambda backend: bool(asked(backend)))
        await balancer.reload(other.url, workers=1)
        assert (await request(balancer.url)).body == b"ok"
        assert len(slots(balancer)) == 2  # the slot of who has a request in hand is kept
        assert (await client.read_response()).body == b"slow"
        await client.send(GET)
        assert (await client.read_response()).body == b"ok"
        await until(lambda: len(slots(balancer)) == 1)
        assert balancer.statistics().total_active == 0


async def test_fifty_reloads_under_load_leave_tunnels_and_processes_alone() -> None:
    """Scale: 50 reloads, 4 clients."""
    async with AsyncExitStack() as stack:
        echo = await stack.enter_async_context(
            open_backend(besides_checks(scripts.switching(scripts.mirror)))
        )
        one, two = await servers(stack, b"one", b"two")
        balancer = await stack.enter_async_context(open_supervisor(echo.url, workers=2))
        client = await stack.enter_async_context(open_client(balancer.url))
        tunnel = await tunnels.enter(client)
        await balancer.reload(one.url, workers=2)
        pids, descriptors = balancer.pids, [count_descriptors(pid) for pid in balancer.pids]
        load = Load(balancer.url, clients=4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 120.0)
            for number in range(50):
                urls = [[one.url], [one.url, two.url], [two.url]][number % 3]
                await balancer.reload(*urls, workers=2)
                await tunnel.send(b"ping")
                assert await tunnel.receive(4) == b"ping"
            load.stop()
        assert not load.failures
        assert balancer.pids == pids
        await until(lambda: len(slots(balancer)) == 3)
        await until(
            lambda: all(
                count_descriptors(pid) <= before + 4
                for pid, before in zip(pids, descriptors, strict=True)
            )
        )


async def test_many_changes_in_a_row_leave_nothing_behind() -> None:
    """Scale: 200 changes, 2 clients (1,000, see docs/operations.md)."""
    async with AsyncExitStack() as stack:
        one, two, three = await servers(stack, b"one", b"two", b"three")
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=2))
        pids = balancer.pids
        load = Load(balancer.url, clients=2)
        choices = [[one], [one, two], [two, three], [three], [three, two, one], [two]]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 120.0)
            for number in range(200):
                chosen = [
                    {"url": backend.url, "weight": 1 + number % 7}
                    for backend in choices[number % len(choices)]
                ]
                algorithm = ("rr", "wrr", "lc", "lrt")[number % 4]
                await balancer.reload(*chosen, workers=2, algorithm=algorithm)
            load.stop()
        assert load.results
        assert not load.failures
        assert balancer.pids == pids
        await until(lambda: len(slots(balancer)) == len(balancer.statistics().servers))
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, Members | SetMembers)]
        assert len(kept) <= 4
        assert [max(map(int, os.listdir(f"/proc/{pid}/fd"))) < 64 for pid in pids] == [True, True]


def count_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_a_worker_that_is_stopped_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale: 0.8 s without a sign of life (4 s)."""
    monkeypatch.setattr(monitor, "SILENCE", 0.8)
    async with AsyncExitStack() as stack:
        one, two = await servers(stack, b"one", b"two")
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=2))
        stopped, other = balancer.pids
        os.kill(stopped, signal.SIGSTOP)
        await balancer.reload(two.url, workers=2)
        await until(
            lambda: (
                not balancer.supervisor._present.monitors[0].serving
                or not balancer.supervisor._present.monitors[1].serving
            )
        )
        await until(lambda: len(balancer.pids) == 2 and stopped not in balancer.pids)
        assert other in balancer.pids
        await until(lambda: len(slots(balancer)) == 1)
        assert {(await request(balancer.url)).body for _ in range(16)} == {b"two"}


async def test_what_replaces_a_dead_worker_has_the_newest_servers() -> None:
    async with AsyncExitStack() as stack:
        one, two = await servers(stack, b"one", b"two")
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=1))
        await balancer.reload(two.url, workers=1)
        (pid,) = balancer.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: balancer.pids not in ([], [pid]))
        assert (await request(balancer.url)).body == b"two"


async def test_what_can_not_be_done_changes_nothing() -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=1) as balancer:
        pids, profile = balancer.pids, balancer.supervisor.profile
        many: list[Any] = [http_url("127.0.0.1", port) for port in range(1025, 1025 + 1024)]
        balancer.profile = await refused(balancer, *many)
        assert balancer.supervisor.profile is profile
        assert (balancer.pids, len(slots(balancer))) == (pids, 1)
        assert (await request(balancer.url)).body == b"ok"


async def refused(balancer: Supervised, *servers: object) -> Any:
    before = balancer.supervisor.profile
    balancer.profile = supervised_profile(*servers, workers=1, health_check="off")
    balancer.supervisor.reload()
    await until(lambda: balancer.reloads_ended == 1)
    assert balancer.supervisor.reloads._status.problems
    return before


async def test_a_server_that_is_down_is_not_asked_sooner_and_stays_so() -> None:
    async with open_backend(OK) as backend:
        dead = http_url("127.0.0.1", free_port())
        check = {"interval": "30s"}
        async with open_supervisor(backend.url, dead, workers=1, health_check=check) as balancer:
            watched = balancer.supervisor._checker._watched[dead]
            await until(lambda: watched.schedule._step >= 2)
            for number in range(5):
                due = watched.due
                await balancer.reload(
                    backend.url, {"url": dead, "weight": 2 + number}, workers=1, health_check=check
                )
                assert balancer.supervisor._checker._watched[dead] is watched
                assert watched.due >= due or watched.busy
            assert balancer.statistics().servers[1].state == "dead"


async def test_a_reload_that_comes_during_another_is_the_last_word() -> None:
    """The first one waits for the check of a server that takes its time."""
    slow = scripts.delayed(0.5, scripts.answer(b"slow"))
    async with AsyncExitStack() as stack:
        one, two = await servers(stack, b"one", b"two")
        hesitant = await stack.enter_async_context(open_backend(slow))
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=2))
        pids, load = balancer.pids, Load(balancer.url, clients=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 60.0)
            balancer.profile = supervised_profile(one.url, hesitant.url, workers=2)
            balancer.supervisor.reload()
            await hesitant.wait_until(lambda backend: bool(backend.requests))
            assert balancer.reloads_ended == 0
            await balancer.reload(two.url, workers=2)
            load.stop()
        assert balancer.reloads_ended == 2
        assert not load.failures
        assert balancer.pids == pids
        assert {(await request(balancer.url)).body for _ in range(8)} == {b"two"}
        await until(lambda: len(slots(balancer)) == 1)


async def test_a_drain_during_a_change_ends_it() -> None:
    async with AsyncExitStack() as stack:
        (one,) = await servers(stack, b"one")
        silent = await stack.enter_async_context(open_backend(scripts.hang()))
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=2))
        before = balancer.supervisor.profile
        balancer.profile = supervised_profile(
            one.url, silent.url, workers=2, health_check={"interval": "60s", "timeout": "50s"}
        )
        balancer.supervisor.reload()
        await silent.wait_until(lambda backend: bool(backend.requests))
        assert await balancer.end()
        assert balancer.supervisor.profile is before
        assert balancer.supervisor.reloads._status.problems == ("it is being stopped",)


async def test_a_worker_that_was_stopped_takes_the_newest_servers_when_it_goes_on() -> None:
    async with AsyncExitStack() as stack:
        one, two, three = await servers(stack, b"one", b"two", b"three")
        balancer = await stack.enter_async_context(open_supervisor(one.url, workers=1))
        (pid,) = balancer.pids
        async with open_client(balancer.url) as client:
            os.kill(pid, signal.SIGSTOP)
            try:
                balancer.profile = supervised_profile(two.url, workers=1)
                balancer.supervisor.reload()
                profile = supervised_profile(three.url, workers=1)
                await until(lambda: balancer.supervisor.profile is balancer.profile)
                balancer.profile = profile
                balancer.supervisor.reload()
            finally:
                os.kill(pid, signal.SIGCONT)
            await until(lambda: balancer.reloads_ended == 2)
            await client.send(GET)
            assert (await client.read_response()).body == b"three"
        assert balancer.pids == [pid]
        assert not balancer.supervisor.reloads._status.problems
        await until(lambda: len(slots(balancer)) == 1)


async def test_twenty_thousand_servers_change_in_place() -> None:
    """Scale: 20,000 servers, of which half are others after the change."""
    addresses = [f"http://127.0.{number >> 8}.{number & 255}:1" for number in range(30_000)]
    async with AsyncExitStack() as stack:
        (one,) = await servers(stack, b"one")
        first = {"url": one.url, "weight": 1000}
        quiet: dict[str, Any] = {"workers": 1, "health_check": "off", "algorithm": "wrr"}
        balancer = await stack.enter_async_context(open_supervisor(*addresses[:20_000], **quiet))
        pids, before = balancer.pids, slots(balancer)
        await balancer.reload(first, *addresses[10_001:], within=90, **quiet)
        with trio.fail_after(90):  # the reload does not wait for ever for a worker that is slow
            while (await request(balancer.url)).body != b"one":  # noqa: ASYNC110
                await trio.sleep(0.1)
        assert balancer.pids == pids
        await until(lambda: len(slots(balancer)) == 20_000)
        assert len(slots(balancer) & before) == 9_999
