"""Clients that are slow on purpose, ask for too much, or only sit there (rows 10, 11, 26, 28)."""

from __future__ import annotations

import contextlib
import gc
import re
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import client as raw
from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer
from tests.support.client import open_client
from tests.support.leaks import nothing_left
from tests.support.rig import Rig, get, open_rig
from trio_lb.errors import End

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio.testing import MockClock

    from tests.support.backend import Exchange
    from tests.support.client import Client

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parents[2]
LATE = 0.5
KIBIBYTE = 1024
LARGE = 10_000_000
SERVICE = 0.02


async def by_target(exchange: Exchange) -> None:
    """10 MB for `/large`; for others an answer within 20 ms, when their body is there."""
    if exchange.request.target == "/large":
        await scripts.bulk(LARGE)(exchange)
    else:
        await scripts.delayed(SERVICE, scripts.answer())(exchange)


class Healthy:
    """A client that asks again and again, while others do harm."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.seconds: list[float] = []

    async def run(self) -> None:
        """Ask ten times a second, until cancelled."""
        while True:
            started = trio.current_time()
            response = await self._rig.ask(get())
            assert (response.status, response.complete) == (200, True)
            self.seconds.append(trio.current_time() - started)
            await trio.sleep(0.1)


async def read_slowly(rig: Rig, rate: int) -> None:
    """Reads 10 MB so many bytes a second, until the end."""
    async with rig.client() as client:
        await client.send(get("/large"))
        try:
            while await client.stream.receive_some(5 * rate):  # noqa: ASYNC110
                await trio.sleep(5)
        except trio.BrokenResourceError:
            pass


async def test_row_10_slow_readers_are_cut_and_hold_the_server_back(
    autojump_clock: MockClock,
) -> None:
    """Scale: 40 clients that read 100 B/s, and 40 that read 1 KB/s, of 10 MB."""
    async with open_rig(by_target) as rig, trio.open_nursery() as nursery:
        healthy = Healthy(rig)
        nursery.start_soon(healthy.run)
        before = memory()
        for rate in [100, 1000] * 40:
            nursery.start_soon(read_slowly, rig, rate)
        await trio.sleep(20)
        used = memory() - before
        tracemalloc.stop()
        # In this process: both ends of both connections, with 64 KiB of pipe in each direction.
        assert used / 80 <= (256 + 2 * 64) * KIBIBYTE
        assert all(each.unsent <= 64 * KIBIBYTE for each in rig.network.to_servers)
        assert len(cut(rig)) == 0
        await trio.sleep(100)
        # 30 s of credit, and 100 of the 240 bytes that earn a second back: cut after 51 s.
        assert len(cut(rig)) == 40
        assert all(45 <= ended <= 60 for ended in cut(rig))
        assert rig.servers.snapshot()[0].active <= 41
        assert max(healthy.seconds) <= 1.2 * SERVICE
        assert len(healthy.seconds) > 900
        nursery.cancel_scope.cancel()


def cut(rig: Rig) -> list[float]:
    """How long requests took whose client was too slow."""
    return [record.duration_s for record in rig.records if record.ended is End.CLIENT_SLOW]


def memory() -> int:
    """Bytes of Python's objects; none of them garbage."""
    gc.collect()
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture(autouse=True)
def _stops_tracing() -> Iterable[None]:
    yield
    tracemalloc.stop()


async def drip(rig: Rig, start: bytes, ends: list[tuple[int, float]]) -> None:
    """Sends `start`, then a byte a second; notes the status that came, and after how long."""
    began = trio.current_time()
    async with rig.client() as client, trio.open_nursery() as nursery:

        async def go_on() -> None:
            try:
                await client.send(start)
                while True:
                    await trio.sleep(1)
                    await client.send(b"x")
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(go_on)
        response = await client.read_response()
        ends.append((response.status, trio.current_time() - began))
        assert await client.read_until_close() == (b"", raw.End.EOF)
        nursery.cancel_scope.cancel()


async def test_row_11_slow_writers_are_cut_in_their_time(autojump_clock: MockClock) -> None:
    """Scale: 150 slow heads and 150 slow bodies, small and large, a byte a second."""
    chunk = get("/", "Transfer-Encoding: chunked", method="POST") + b"ffff\r\n"
    small = get("/", "Content-Length: 1000", method="POST")
    large = get("/", "Content-Length: 10000000", method="POST")
    async with open_rig(by_target) as rig, trio.open_nursery() as nursery:
        healthy = Healthy(rig)
        nursery.start_soon(healthy.run)
        heads: list[tuple[int, float]] = []
        bodies: list[tuple[int, float]] = []
        async with trio.open_nursery() as slow:
            for _ in range(150):
                slow.start_soon(drip, rig, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", heads)
            for data in [small, large, chunk] * 50:
                slow.start_soon(drip, rig, data, bodies)
        assert [status for status, _ in (*heads, *bodies)] == [408] * 300
        assert all(10 <= seconds <= 10 + LATE for _, seconds in heads)
        assert all(30 <= seconds <= 31 + LATE for _, seconds in bodies)
        assert len(healthy.seconds) > 250
        assert max(healthy.seconds) <= 1.2 * SERVICE
        assert rig.failed == [0], "no server is to blame"
        nursery.cancel_scope.cancel()


HUGE = {
    "one field": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000,
    "10,000 fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    "a target": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "no line at all": b"G" * 200_000,
}


async def ask_hugely(url: str, data: bytes) -> int:
    """Sends a huge head, and reads the status of the answer."""
    async with open_client(url) as client, trio.open_nursery() as nursery:

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await client.send(data)

        nursery.start_soon(send)
        status = (await client.read_response()).status
        nursery.cancel_scope.cancel()
        return status


@pytest.mark.parametrize("what", HUGE)
async def test_row_26_a_huge_head_costs_little(what: str) -> None:
    """Scale: 20 at a time; CPU time compared with that of 20 ordinary requests."""
    with nothing_left():
        async with (
            open_backend(besides_checks(scripts.answer())) as backend,
            open_balancer(backend.url) as balancer,
        ):
            url = balancer.addresses[0]

            async def rounds(data: bytes) -> tuple[float, set[int]]:
                """CPU seconds of the best of some rounds, and the statuses."""
                best, statuses = float("inf"), set()
                for _ in range(5):
                    started = time.process_time()
                    async with trio.open_nursery() as nursery:

                        async def ask() -> None:
                            statuses.add(await ask_hugely(url, data))

                        for _ in range(20):
                            nursery.start_soon(ask)
                    best = min(best, time.process_time() - started)
                return best, statuses

            ordinary, statuses = await rounds(get())
            assert statuses == {200}
            attack, statuses = await rounds(HUGE[what])
            assert statuses <= {400, 414, 431}
            assert attack <= 10 * ordinary


async def test_row_26_an_unfinished_head_holds_no_more_than_its_limit() -> None:
    """Scale: 100 heads of 15 KiB that never end; with 16 KiB as the limit."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaaaaaaaaa\r\n" * 98
    head += b"Y: " + b"a" * (15 * KIBIBYTE - len(head))
    async with open_rig() as rig:
        clients: list[Client] = []
        async with trio.open_nursery() as nursery:

            async def begin() -> None:
                async with rig.client() as client:
                    clients.append(client)
                    await client.send(head[:1])
                    await trio.sleep_forever()

            for _ in range(100):
                nursery.start_soon(begin)
            await wait_all_tasks_blocked()
            before = memory()
            for client in clients:
                for at in range(1, len(head), 1000):
                    await client.send(head[at : at + 1000])
            await wait_all_tasks_blocked()
            assert (memory() - before) / 100 <= 2 * 16 * KIBIBYTE
            nursery.cancel_scope.cancel()


def test_row_28_idle_connections_hold_little_memory() -> None:
    """Scale: 1000 of each kind (the bar: 10,000, by `make idle`); at most 16 KiB each."""
    command = [sys.executable, "-m", "benchmarks.idle", "--connections", "1000"]
    done = subprocess.run(
        [*command, "--peers", "trio-lb"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        len(re.findall(r"^trio-lb +(?:answered|silent) +\d+\.\d+ KiB", done.stdout, re.MULTILINE))
        == 2
    )


async def test_row_28_others_are_served_beside_idle_connections(autojump_clock: MockClock) -> None:
    """Scale: 1000, all at once."""
    async with open_rig(by_target) as rig, trio.open_nursery() as nursery:
        served = 0

        async def stay() -> None:
            nonlocal served
            async with rig.client() as client:
                await client.send(get())
                assert (await client.read_response()).status == 200
                served += 1
                await trio.sleep_forever()

        for _ in range(1000):
            nursery.start_soon(stay)
        await trio.sleep(1)
        assert served == 1000
        healthy = Healthy(rig)
        nursery.start_soon(healthy.run)
        await trio.sleep(20)
        assert max(healthy.seconds) <= 1.1 * SERVICE
        assert rig.counters.connections >= 1000
        nursery.cancel_scope.cancel()
