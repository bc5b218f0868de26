"""`trio-lb start` as a process: signals, exit codes, real servers that die."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH, asked, besides_checks
from tests.support.client import open_client, request
from tests.support.net import PORTS, free_port, http_url
from tests.support.peers import PACED, requests_of, run_http_server, run_uvicorn, wrk
from tests.support.process import needs, process_usage, run_balancer, run_nginx, run_process
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.process import Child

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ARTICLE = Path(__file__).parents[1] / "data" / "balrs-config.yaml"


@asynccontextmanager
async def start(
    directory: Path, *servers: str, options: tuple[str, ...] = (), **settings: object
) -> AsyncIterator[tuple[Child, str]]:
    """A balancer that listens, and its URL."""
    keys = {"listen": "http://127.0.0.1:0", "servers": servers, **settings}
    profile = directory / "profile.yaml"
    await trio.Path(profile).write_text(json.dumps(keys))
    async with run_balancer("start", "-p", profile, *options) as child:
        found = await child.wait_line(r"listening on (\S+):")
        yield child, found[1]


async def refused(url: str) -> None:
    """Returns when nobody listens any more, which is a moment after the log says so."""
    with trio.fail_after(PATIENCE), suppress(OSError):
        while True:
            async with open_client(url):
                pass


async def test_term_finishes_what_is_in_flight_and_ends_with_0(tmp_path: Path) -> None:
    script = besides_checks(scripts.delayed(1, scripts.answer(b"finished")))
    async with (
        open_backend(script) as backend,
        start(tmp_path, backend.url, health_check={"path": CHECK_PATH}) as (child, url),
        open_client(url) as busy,
        open_client(url),  # idle
    ):
        await busy.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        child.signal(signal.SIGTERM)
        await child.wait_line("SIGTERM: draining, for up to 30 s")
        await refused(url)
        response = await busy.read_response()
        assert (response.body, response.header("connection")) == (b"finished", "close")
        assert await child.wait() == 0
        assert "drained" in child.lines[-1]
        await backend.wait_until(lambda backend: not backend.open_connections)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(first: signal.Signals, tmp_path: Path) -> None:
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        start(tmp_path, backend.url, health_check={"path": CHECK_PATH}) as (child, url),
        open_client(url) as client,
    ):
        await client.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        child.signal(first)
        await child.wait_line("draining")
        started = time.monotonic()
        child.signal(signal.SIGTERM)
        assert await child.wait() == 1
        assert time.monotonic() - started < 20, "it drained, for up to 30 s"
        assert not (await client.read_response()).complete
        assert "SIGTERM again: stopping at once" in child.output


async def test_the_drain_time_is_kept(tmp_path: Path) -> None:
    check, timeouts = {"path": CHECK_PATH}, {"drain": "500ms"}
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        start(tmp_path, backend.url, health_check=check, timeouts=timeouts) as (child, url),
        open_client(url) as client,
    ):
        await client.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        child.signal(signal.SIGTERM)
        assert await child.wait() == 1
        assert "drain timeout: 1 client connections are closed" in child.output


async def test_a_port_in_use_is_one_clear_line_and_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = http_url("127.0.0.1", taken.getsockname()[1])
        profile = tmp_path / "x.yaml"
        await trio.Path(profile).write_text(f"servers: http://127.0.0.1:1\nlisten: {url}\n")
        async with run_balancer("start", "-p", profile) as child:
            assert await child.wait() == 1
    (line,) = child.lines
    assert line.endswith(f"cannot listen on {url}: Address already in use")


async def test_a_wrong_profile_is_2_and_a_place(tmp_path: Path) -> None:
    profile = tmp_path / "x.yaml"
    await trio.Path(profile).write_text("servers: http://127.0.0.1:1\nalgoritm: rr\n")
    async with run_balancer("start", "-p", profile) as child:
        assert await child.wait() == 2
    assert re.search(r'x\.yaml:2:1: algoritm: .*"algorithm"', child.output)


async def test_an_old_key_is_told_once(tmp_path: Path) -> None:
    server = http_url("127.0.0.1", free_port())
    async with start(tmp_path, server, engine="h11", workers=2, health_check="off") as (child, _):
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0
        advice = "engine: is called fast_path now: write fast_path: off"
        assert child.output.count(advice) == 1


async def test_with_all_dead_it_starts_and_answers_503(tmp_path: Path) -> None:
    async with start(tmp_path, http_url("127.0.0.1", free_port())) as (child, url):
        assert re.search("listening on .* 0 alive", child.output)
        response = await request(url)
        assert (response.status, response.header("retry-after")) == (503, "1")
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0


async def test_it_starts_again_on_the_same_port_at_once(tmp_path: Path) -> None:
    listen = http_url("127.0.0.1", free_port())
    async with open_backend(scripts.answer(b"ok")) as backend:
        for _ in range(2):
            async with start(tmp_path, backend.url, listen=listen) as (child, url):
                assert url == listen
                assert (await request(url)).body == b"ok"
                child.process.kill()
                await child.wait()


async def test_descriptors_of_clients_and_servers_come_back(tmp_path: Path) -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"ok"))) as backend,
        start(tmp_path, backend.url, health_check="off", upstream={"idle_timeout": 0}) as (
            child,
            url,
        ),
    ):
        await request(url)
        await trio.sleep(0.2)
        before = process_usage(child.pid)
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(request, url)
        with trio.fail_after(PATIENCE):
            while process_usage(child.pid).descriptors > before.descriptors:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert process_usage(child.pid).threads == before.threads


@needs("nginx", "wrk")
async def test_killing_a_server_under_wrk_costs_no_request(tmp_path: Path) -> None:
    """Row 1 with processes: SIGKILL, and a restart. (nginx sends an answer in one piece.)"""
    settings: dict[str, Any] = {"health_check": {"interval": "500ms"}, "report_interval": "500ms"}
    block = 'location / { return 200 "nginx"; }'
    port = free_port()
    async with (
        run_nginx(tmp_path, block) as one,
        run_nginx(tmp_path, block) as two,
        run_nginx(tmp_path, block, port=port) as three,
        start(tmp_path, one, two, three, options=("--report",), **settings) as (child, url),
    ):
        async with run_process(wrk(url, clients=24)) as load:
            await trio.sleep(0.5)
            pid = await trio.Path(tmp_path / f"nginx-{port}.pid").read_text()
            os.kill(int(pid), signal.SIGKILL)
            await child.wait_line(f"server {three}: alive -> dead")
            await trio.sleep(0.5)
            load.signal(signal.SIGINT)  # it tells what it has counted
            assert await load.wait() == 0
        assert requests_of(load) > 100
        await child.wait_line(f"^{three} +Dead")
        async with run_nginx(tmp_path, block, port=port):
            await child.wait_line(f"server {three}: dead -> alive")
            await child.wait_line(f"^{three} +Alive")
            child.signal(signal.SIGTERM)
            assert await child.wait() == 0


@needs("nginx", "curl", "ab", "wrk")
async def test_the_articles_profile_with_real_servers(tmp_path: Path) -> None:
    """Its file as it is, on its ports where these are free."""
    ports = {port: port if _is_free(port) else free_port() for port in (8000, 3001, 3002, 3003)}
    text = await trio.Path(ARTICLE).read_text()
    text = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda port: str(ports[int(port[0])]), text)
    profile = tmp_path / "config.yaml"
    await trio.Path(profile).write_text(text)
    (tmp_path / "served").mkdir()
    await trio.Path(tmp_path / "served" / "index.html").write_text("http.server")
    url = http_url("127.0.0.1", ports[8000])
    nginx = 'location / { return 200 "nginx"; }'
    async with (
        run_nginx(tmp_path, nginx, port=ports[3001]),
        run_http_server(tmp_path / "served", ports[3002]),
        run_uvicorn(ports[3003]),
        run_balancer("start", "--path", profile, "--report", cwd=tmp_path) as child,
    ):
        line = await child.wait_line("listening on")
        assert "round_robin over 3 servers, 3 alive" in line.string
        bodies = [(await request(url)).body for _ in range(6)]
        assert sorted(bodies) == sorted([b"nginx", b"http.server", b"GET /?"] * 2)
        commands: tuple[list[str | Path], ...] = (
            ["curl", "-sSf", url],
            ["ab", "-q", "-n", "99", "-c", "8", f"{url}/"],
            ["wrk", "-t", "1", "-c", "8", "-d", "1s", "-s", PACED, url],
        )
        for command in commands:
            async with run_process(command) as client:
                assert await client.wait() == 0
            assert not re.search(r"Non-2xx|Socket errors", client.output), client.output
        child.signal(signal.SIGINT)
        assert await child.wait() == 0


def _is_free(port: int) -> bool:
    assert port not in PORTS, "another test may have it at any time"
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
