"""Reloads under load, and what they change (rows 21 to 24)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks
from tests.support.client import End, open_client, request
from tests.support.load import Load
from tests.support.net import free_port, http_url
from tests.support.peers import requests_of, wrk
from tests.support.process import needs, run_nginx, run_process
from tests.support.supervised import (
    GET,
    is_gone,
    open_supervisor,
    run_supervisor,
    supervised_profile,
    until,
)
from tests.support.waiting import PATIENCE
from trio_lb.supervise import monitor as monitor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.supervised import Supervised

OK = besides_checks(scripts.answer())


def total(report: Path) -> dict[str, Any]:
    """The last line of a saved report."""
    last: dict[str, Any] = json.loads(report.read_text().splitlines()[-1])
    return last


@needs("nginx", "wrk")
async def test_rows_21_and_22_twenty_reloads_cost_no_request(tmp_path: Path) -> None:
    """With connections that are kept, and with a new one for each request.

    Scale: 20 reloads one after the other, 8 clients of each kind, as many requests as they make
    (the bar: 100,000, and one failure for each connection and reload; here it is none).
    """
    settings: dict[str, Any] = {"health_check": "off", "report_interval": "250ms"}
    async with (
        run_nginx(tmp_path, 'location / { return 200 "nginx"; }') as server,
        run_supervisor(tmp_path, server, options=("-s", "x.jsonl"), **settings) as balancer,
    ):
        async with (
            run_process(wrk(balancer.url)) as kept,
            run_process(wrk(balancer.url, "-H", "Connection: close")) as fresh,
        ):
            for number in range(20):
                balancer.write([server], **settings, workers=number % 3 + 1)
                balancer.child.signal(signal.SIGHUP)
                await balancer.child.wait_line("reloaded: 1 server,")
            clients = (kept, fresh)
            for client in clients:
                client.signal(signal.SIGINT)  # it tells what it has counted
            assert [await client.wait() for client in clients] == [0, 0]
        counts = [requests_of(client) for client in clients]
        assert min(counts) > 20
        report = tmp_path / "x.jsonl"
        await until(lambda: total(report)["client_connections"] == 0)
        await trio.sleep(0.3)
        # wrk does not count those that were under way at its end.
        assert sum(counts) <= total(report)["total_served"] <= sum(counts) + 16
        assert sum(counts) <= total(report)["requests_total"] <= sum(counts) + 16
        await until(lambda: len(balancer.pids) == 19 % 3 + 1)


async def test_row_22_clients_that_pause_meet_no_close_without_an_answer() -> None:
    """A kept connection ends with an answer that says so, or while nothing was asked on it.

    Scale: 3 reloads, 16 clients with pauses of up to a quarter of a second.
    """
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        loads = [Load(balancer.url, clients=4, pause=pause) for pause in (0.0, 0.02, 0.1, 0.25)]
        async with trio.open_nursery() as nursery:
            for load in loads:
                nursery.start_soon(load.run, 60.0)
            for number in range(3):
                await balancer.reload(backend.url, retries=number)  # which takes new workers
                await trio.sleep(0.3)
            for load in loads:
                load.stop()
        assert not [load.failures for load in loads if load.failures]
        said = [each for each in loads[3].results if each.response.header("connection") == "close"]
        assert said, "no connection was kept over a reload"


async def test_row_22_a_request_at_that_moment_is_answered_as_the_last_one() -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        async with open_client(balancer.url) as idle, open_client(balancer.url) as quiet:
            for client in (idle, quiet):
                await client.send(GET)
                assert (await client.read_response()).header("connection") is None
            await balancer.reload(backend.url, retries=1)  # which takes new workers
            await idle.send(GET)
            response = await idle.read_response()
            assert (response.body, response.header("connection")) == (b"ok", "close")
            assert await quiet.read_until_close() == (b"", End.EOF)
        await until(lambda: len(balancer.pids) == 2)


async def test_row_24_a_download_outlives_a_reload() -> None:
    async with (
        open_backend(besides_checks(scripts.bulk(30_000_000))) as backend,
        open_supervisor(backend.url, timeouts={"drain": "20s"}) as balancer,
        open_client(balancer.url) as client,
    ):
        old = balancer.pids
        await client.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        await balancer.reload(backend.url, algorithm="lc", retries=1)
        await until(lambda: len(balancer.pids) == 3)  # two new ones, and one that has the download
        (busy,) = set(old) & set(balancer.pids)
        assert balancer.statistics().total_active == 1
        with trio.fail_after(PATIENCE):
            response = await client.read_response()
        assert response.complete
        assert len(response.body) == 30_000_000
        await until(lambda: is_gone(busy))
        assert balancer.statistics().total_active == 0
        assert balancer.statistics().total_served == 1


async def test_row_24_what_outlasts_the_drain_time_is_cut_with_its_worker() -> None:
    """The time is that of the profile with which the worker was started. Scale: 700 ms (30 s)."""
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        open_supervisor(backend.url, workers=1, timeouts={"drain": "700ms"}) as balancer,
        open_client(balancer.url) as client,
    ):
        (old,) = balancer.pids
        await client.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        began = trio.current_time()
        await balancer.reload(backend.url, workers=1, timeouts={"drain": "60s"})
        (new,) = set(balancer.pids) - {old}
        assert not (await client.read_response()).complete
        assert 0.7 <= trio.current_time() - began < 30
        await until(lambda: is_gone(old))
        assert balancer.pids == [new]
        assert balancer.statistics().total_active == 0


async def test_everything_in_a_profile_can_change() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"one"))) as one,
        open_backend(besides_checks(scripts.answer(b"two"))) as two,
        open_supervisor(one.url, workers=2) as balancer,
    ):
        first = balancer.url
        assert (await request(first)).body == b"one"
        listen = [http_url("127.0.0.1", free_port()) for _ in range(2)]
        await balancer.reload(
            {"url": one.url, "weight": 1},
            {"url": two.url, "weight": 3, "max_connections": 7},
            listen=listen,
            algorithm="wrr",
            workers=3,
            limits={"target": 100},
        )
        await until(lambda: len(balancer.pids) == 3)
        for url in listen:
            assert {(await request(url)).body for _ in range(24)} == {b"one", b"two"}
        assert (await request(f"{listen[0]}/{'a' * 100}")).status == 414
        with pytest.raises(OSError, match="connect"):  # the old address is no more
            await request(first)
        statistics = balancer.statistics()
        assert statistics.algorithm == "weighted_round_robin"
        assert [(each.weight, each.max_connections) for each in statistics.servers] == [
            (1, 0),
            (3, 7),
        ]
        # docs/algorithms.md: less than two turns off for each worker, and one request came before.
        assert 1 + 12 - 6 <= statistics.servers[0].served <= 1 + 12 + 6
        await until(lambda: totals(balancer) == (49, 50))  # counted once a client has its answer
        # Fewer workers: those that stay accept from all sockets.
        await balancer.reload(two.url, listen=listen, workers=1, timeouts={"drain": "1s"})
        await until(lambda: len(balancer.pids) == 1)
        bodies = [(await request(listen[1])).body for _ in range(12)]
        assert bodies == [b"two"] * 12
        await until(lambda: totals(balancer)[1] == 62)
        assert len(balancer.supervisor._table.servers) == 1  # the other one's slot is free again


async def test_a_listener_can_come_to_expect_proxy_headers() -> None:
    """On the same socket: by the workers' orders, not by the socket."""
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
    url = http_url("127.0.0.1", free_port())
    async with (
        open_backend(OK) as backend,
        open_supervisor(backend.url, listen=url, workers=2) as balancer,
    ):

        async def answered(data: bytes) -> bool:
            async with open_client(url) as client:
                await client.send(data)
                return (await client.read_until_close())[0].startswith(b"HTTP/1.1 200")

        last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await answered(last), await answered(header + last)) == (True, False)
        proxied = [{"url": url, "proxy_protocol": True}]
        await balancer.reload(backend.url, listen=proxied, trusted_proxies="127.0.0.1", workers=2)
        await until(lambda: len(balancer.pids) == 2)
        for _ in range(4):  # both workers
            assert (await answered(last), await answered(header + last)) == (False, True)
        assert asked(backend)[-1].header("x-real-ip") == "192.0.2.7"


async def test_row_23_an_address_in_use_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        open_backend(OK) as backend,
        open_supervisor({"url": backend.url, "weight": 2}) as balancer,
    ):
        pids, before = balancer.pids, balancer.url
        free = http_url("127.0.0.1", free_port())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = [free, http_url("127.0.0.1", taken.getsockname()[1])]
            other = {"url": backend.url, "weight": 5}
            balancer.profile = supervised_profile(
                other, "http://127.0.0.1:1", listen=listen, workers=4
            )
            balancer.supervisor.reload()
            await until(lambda: "Address already in use: nothing was changed" in caplog.text)
        with pytest.raises(OSError, match="connect"):
            await request(free)
        await nothing_has_changed(balancer, pids, before)
        assert balancer.statistics().servers[0].weight == 2


async def test_row_23_workers_that_do_not_start_change_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(monitor, "_PAUSES", (0.0, 0.1))
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        pids, before = balancer.pids, balancer.url
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "python"))
            balancer.profile = supervised_profile(backend.url, "http://127.0.0.1:1", workers=4)
            balancer.supervisor.reload()
            await until(lambda: "nothing was changed" in caplog.text)
        assert (
            "5 workers in a row failed to start: the last one could not be started: " in caplog.text
        )
        await nothing_has_changed(balancer, pids, before)
        await balancer.reload(backend.url, workers=1)
        await until(lambda: len(balancer.pids) == 1)


def totals(balancer: Supervised) -> tuple[int, int]:
    statistics = balancer.statistics()
    return statistics.total_served, statistics.requests_total


async def nothing_has_changed(balancer: Supervised, pids: list[int], url: str) -> None:
    """The same workers serve everybody who comes to the same address."""
    assert balancer.pids == pids
    assert balancer.supervisor.addresses == (url,)
    with trio.fail_after(PATIENCE):  # with a socket that nobody accepts from, some would hang
        assert {(await request(url)).status for _ in range(40)} == {200}
    assert len(balancer.supervisor._table.servers) == 1


async def test_row_24_old_generations_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    script = besides_checks(scripts.hang())
    async with (
        open_backend(script) as backend,
        open_supervisor(backend.url, workers=1, timeouts={"drain": "60s"}) as balancer,
        AsyncExitStack() as clients,
    ):

        async def ask(so_many: int) -> None:
            client = await clients.enter_async_context(open_client(balancer.url))
            await client.send(GET)
            await until(lambda: len(asked(backend)) == so_many)

        for generation in (1, 2):
            await ask(generation)
            await balancer.reload(
                backend.url, workers=1, timeouts={"drain": "60s"}, retries=generation
            )
        await ask(3)
        balancer.profile = wanted = supervised_profile(backend.url, workers=1)
        balancer.supervisor.reload()
        await until(lambda: "the reload waits" in caplog.text)
        assert len(balancer.pids) == 3
        os.kill(balancer.pids[0], signal.SIGKILL)  # the oldest
        await until(lambda: balancer.supervisor.profile is wanted)


async def test_a_term_during_a_reload_cuts_nobody() -> None:
    """The new workers may have clients before all of them are there."""
    script = besides_checks(scripts.delayed(0.3, scripts.answer()))
    async with open_backend(script) as backend, open_supervisor(backend.url) as balancer:
        load = Load(balancer.url, clients=8)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 20.0)
            await trio.sleep(0.5)
            balancer.profile = supervised_profile(backend.url, workers=4)
            balancer.supervisor.reload()
            await until(lambda: len(balancer.at_work) > 2)
            assert await balancer.end()
            load.stop()
        assert {each.response.end for each in load.failures} == {End.REFUSED}
        assert not balancer.pids
