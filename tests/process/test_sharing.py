"""What workers share: clients, limits, turns, sums; and what they can run out of."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from operator import ge
from typing import TYPE_CHECKING, Any

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks
from tests.support.client import open_client, request
from tests.support.load import Load
from tests.support.peers import requests_of, wrk
from tests.support.process import cpu_seconds, needs, process_usage, run_nginx, run_process
from tests.support.supervised import GET, open_supervisor, run_supervisor, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backend import Exchange
    from tests.support.client import Client


class Busy:
    """A script that counts how many requests it has at a time."""

    def __init__(self, seconds: float) -> None:
        self.now = self.most = 0
        self._seconds = seconds

    async def __call__(self, exchange: Exchange) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await trio.sleep(self._seconds)
        self.now -= 1
        await exchange.respond()


@needs("nginx", "wrk")
async def test_all_workers_serve_and_the_sums_are_right(tmp_path: Path) -> None:
    async with (
        run_nginx(tmp_path, 'location / { return 200 "nginx"; }') as one,
        run_nginx(tmp_path, 'location / { return 200 "nginx"; }') as two,
        open_supervisor(one, two, workers=4, health_check="off") as balancer,
    ):
        async with run_process(wrk(balancer.url, clients=64)) as clients:
            await until(lambda: balancer.statistics().total_served > 2000)
            clients.signal(signal.SIGINT)  # it tells what it has counted
            assert await clients.wait() == 0
        counted = requests_of(clients)
        await until(lambda: balancer.statistics().client_connections == 0)
        statistics = balancer.statistics()
        # wrk does not count those that were under way at its end.
        assert counted <= statistics.total_served <= counted + 64
        assert statistics.responses_by_class["2xx"] == statistics.total_served
        assert statistics.client_connections_total >= 64
        rows = balancer.at_work.values()
        served = [balancer.served_by(row) for row in rows]
        assert len(served) == 4
        assert sum(served) == statistics.requests_total
        assert min(served) > counted / 40
        first, second = (server.served for server in statistics.servers)
        assert abs(first - second) <= 64  # one turn, common to all; the last ones were left


async def test_a_maximum_holds_over_all_workers() -> None:
    scripts_by_server = [Busy(0.02) for _ in range(3)]
    async with (
        open_backend(besides_checks(scripts_by_server[0])) as one,
        open_backend(besides_checks(scripts_by_server[1])) as two,
        open_backend(besides_checks(scripts_by_server[2])) as three,
        open_supervisor(
            {"url": one.url, "max_connections": 3},
            {"url": two.url, "max_connections": 1},
            {"url": three.url, "max_connections": 5},
            workers=4,
            algorithm="least_connections",
        ) as balancer,
    ):
        load = Load(balancer.url, clients=24, pause=0.001)

        def most() -> list[int]:
            return [script.most for script in scripts_by_server]

        def statuses() -> set[int]:
            return {each.response.status for each in load.results}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 60.0)
            await until(lambda: all(map(ge, most(), [3, 1, 5])) and {200, 503} <= statuses())
            so_far = len(load.results)
            await until(lambda: len(load.results) > so_far + 200)  # none of it was by chance
            load.stop()
        assert most() == [3, 1, 5]
        assert statuses() == {200, 503}
        shed = [each.response for each in load.results if each.response.status == 503]
        assert {response.header("retry-after") for response in shed} == {"1"}
        assert balancer.statistics().total_active == 0


async def test_least_connections_balances_as_one() -> None:
    """Long requests one after the other: each goes where there are fewest of all workers'."""
    async with (
        open_backend(besides_checks(scripts.hang())) as one,
        open_backend(besides_checks(scripts.hang())) as two,
        open_backend(besides_checks(scripts.hang())) as three,
        open_supervisor(
            one.url, two.url, three.url, workers=4, algorithm="least_connections"
        ) as balancer,
        trio.open_nursery() as nursery,
    ):

        async def hold() -> None:
            async with open_client(balancer.url) as client:
                await client.send(GET)
                await trio.sleep_forever()

        async def one_more(so_many: int) -> None:
            nursery.start_soon(hold)
            await until(lambda: balancer.statistics().total_active == so_many)
            active = [server.active for server in balancer.statistics().servers]
            assert max(active) - min(active) <= 1

        for so_many in range(1, 13):
            await one_more(so_many)
        nursery.cancel_scope.cancel()


async def test_shares_are_right_in_sum() -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as one,
        open_backend(besides_checks(scripts.answer())) as two,
        open_backend(besides_checks(scripts.answer())) as three,
        open_supervisor(one.url, two.url, three.url, workers=4) as balancer,
    ):
        servers = (one, two, three)
        for _ in range(60):
            await request(balancer.url)
        assert [len(asked(server)) for server in servers] == [20, 20, 20]
        weights = (5, 2, 1)
        await balancer.reload(
            *({"url": s.url, "weight": w} for s, w in zip(servers, weights, strict=True)),
            workers=4,
            algorithm="weighted_round_robin",
        )
        for _ in range(160):
            await request(balancer.url)
        # docs/algorithms.md: less than two requests off, for each worker and server.
        for server, share in zip(servers, (100, 40, 20), strict=True):
            assert abs(len(asked(server)) - 20 - share) < 2 * 4


async def test_row_13_and_14_out_of_descriptors(tmp_path: Path) -> None:
    """Those that are in go on, those beyond wait in the queue and get in when others leave.

    Scale: 64 descriptors (the bar: 256) and 100 clients, for two seconds. The pause between two
    tries to accept is held to its time in tests/unit/net/test_listen.py.
    """
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        run_supervisor(
            tmp_path,
            backend.url,
            workers=1,
            through=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"],
            options=("-s", "x.jsonl"),
            report_interval="200ms",
            timeouts={"client_head": "1m"},
        ) as balancer,
        trio.open_nursery() as nursery,
    ):
        (pid,) = balancer.pids
        inside: list[Client] = []

        def reports() -> list[dict[str, Any]]:
            text = (tmp_path / "x.jsonl").read_text()
            return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

        leave = trio.Event()
        answered = 0

        async def ask(client: Client, data: bytes) -> None:
            nonlocal answered
            await client.send(data)
            assert (await client.read_response()).status == 200
            answered += 1

        async def stay() -> None:
            async with open_client(balancer.url) as client:
                await ask(client, GET + GET[:5])  # who is idle for a moment may have to go
                inside.append(client)
                await leave.wait()

        for _ in range(100):
            nursery.start_soon(stay)
        await balancer.child.wait_line("accepting is paused")
        before = len(reports())
        await until(lambda: len(reports()) > before + 1)
        await until(lambda: len(inside) == reports()[-1]["client_connections"])
        let_in = len(inside)
        assert 5 < let_in <= 32, "each needs a server's connection, too"
        work = cpu_seconds(pid)
        await trio.sleep(2)
        assert cpu_seconds(pid) - work < 0.2 * 2, "a busy loop"
        assert len(inside) == reports()[-1]["client_connections"] == let_in
        async with trio.open_nursery() as again:  # all of them at a time
            for client in inside:
                again.start_soon(ask, client, GET[5:])
        assert answered == 2 * let_in
        leave.set()
        await until(lambda: answered == let_in + 100)
        assert (await request(balancer.url)).status == 200
        await balancer.child.wait_line("accepting again")
        assert balancer.child.output.count("accepting") <= 4
        await until(lambda: len(nursery.child_tasks) == 0)
        assert pid in balancer.pids


async def test_clients_are_limited_over_all_workers() -> None:
    script = besides_checks(scripts.delayed(0.3, scripts.answer()))
    async with (
        open_backend(script) as backend,
        open_supervisor(backend.url, workers=3, limits={"clients": 6}) as balancer,
        trio.open_nursery() as nursery,
    ):
        statuses: list[int] = []
        seen: list[int] = []

        async def ask() -> None:
            statuses.append((await request(balancer.url)).status)

        def all_answered() -> bool:
            seen.append(balancer.statistics().client_connections)
            return len(statuses) == 30

        for _ in range(30):
            nursery.start_soon(ask)
        await until(all_answered)
        assert statuses == [200] * 30
        assert max(seen) == 6
        assert balancer.statistics().accepting_pauses > 0


async def test_idle_clients_of_any_worker_go_for_who_comes() -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_supervisor(backend.url, workers=3, limits={"clients": 6}) as balancer,
        trio.open_nursery() as nursery,
    ):

        async def stay() -> None:
            async with open_client(balancer.url) as client:
                await client.send(GET)
                await client.read_response()
                await trio.sleep_forever()

        for _ in range(6):
            nursery.start_soon(stay)
        await until(lambda: balancer.statistics().requests_total == 6)
        await trio.sleep(1.1)
        statuses: list[int] = []

        async def come() -> None:
            statuses.append((await request(balancer.url)).status)

        async with trio.open_nursery() as others:
            for _ in range(6):
                # Wherever they come, and whoever has the idle ones.
                others.start_soon(come)
        assert statuses == [200] * 6
        # A worker counts a request when its client has the answer already.
        await until(lambda: balancer.statistics().responses_by_class["2xx"] == 12)
        assert 1 <= balancer.statistics().client_connections_let_go <= 6
        nursery.cancel_scope.cancel()


async def test_an_address_is_limited_over_all_workers() -> None:
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        open_supervisor(
            backend.url, workers=3, limits={"clients_per_address": 5}, health_check="off"
        ) as balancer,
        trio.open_nursery() as nursery,
    ):

        async def stay() -> None:
            async with open_client(balancer.url) as client:
                await client.read_until_close()

        def come(so_many: int) -> bool:
            return balancer.statistics().client_connections_total == so_many

        for so_many in range(1, 13):
            nursery.start_soon(stay)
            await until(partial(come, so_many))
        await until(lambda: balancer.statistics().client_connections_refused == 7)
        statistics = balancer.statistics()
        assert statistics.client_connections == 5
        nursery.cancel_scope.cancel()


async def test_a_worker_that_is_killed_takes_its_clients_places_along() -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_supervisor(
            backend.url, workers=2, limits={"clients": 4, "clients_per_address": 4}
        ) as balancer,
        trio.open_nursery() as nursery,
    ):

        async def stay() -> None:
            async with open_client(balancer.url) as client:
                await client.read_until_close()

        for _ in range(4):
            nursery.start_soon(stay)
        await until(lambda: balancer.statistics().client_connections == 4)
        for pid in balancer.pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: balancer.statistics().client_connections == 0)
        for _ in range(3):
            assert (await request(balancer.url)).status == 200
        nursery.cancel_scope.cancel()


async def test_out_of_descriptors_idle_clients_go(tmp_path: Path) -> None:
    """Row 13: as many as there are descriptors for come again and again, and all get in."""
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        run_supervisor(
            tmp_path,
            backend.url,
            workers=1,
            through=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"],
        ) as balancer,
        trio.open_nursery() as nursery,
    ):
        (pid,) = balancer.pids
        served = 0

        async def stay() -> None:
            nonlocal served
            async with open_client(balancer.url) as client:
                await client.send(GET)
                assert (await client.read_response()).status == 200
                served += 1
                await trio.sleep_forever()

        for wave in range(1, 5):
            for _ in range(60):
                nursery.start_soon(stay)
            await until(partial(lambda wave: served == 60 * wave, wave))
            await trio.sleep(1.1)
        assert process_usage(pid).descriptors < 256
        assert cpu_seconds(pid) < 3
        assert balancer.child.output.count("accepting is paused") <= 2
        nursery.cancel_scope.cancel()
