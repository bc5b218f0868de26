"""The PROXY protocol with programs of other people on its other side.

Clients come from 127.0.0.2, so that they can be told from their proxy, which is 127.0.0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.net import free_port
from tests.support.peers import run_haproxy
from tests.support.process import needs, run_nginx

if TYPE_CHECKING:
    from pathlib import Path

CLIENT = "127.0.0.2"
PROXIED = {
    "listen": {"url": "http://127.0.0.1:0", "proxy_protocol": True},
    "trusted_proxies": ["127.0.0.1"],
}


async def curl(url: str, *options: str, interface: str = CLIENT) -> tuple[int, str]:
    """Asks from another address, on one connection for each call; exit code and body."""
    command = ["curl", "-sS", "--max-time", "10", "--interface", interface, *options, url]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, done.stdout.decode()


@needs("curl", "haproxy")
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"])
async def test_haproxy_in_front(option: str, tmp_path: Path) -> None:
    port = free_port()
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url, **PROXIED) as balancer,
        run_haproxy(
            tmp_path,
            f"listen front\n  mode tcp\n  bind 127.0.0.1:{port}\n"
            f"  server lb {balancer.addresses[0].removeprefix('http://')} {option}\n",
            port,
        ) as url,
    ):
        forged = ("-H", "X-Forwarded-For: 10.0.0.1")
        assert await curl(url, *forged) == (0, "hello")
        [request] = asked(backend)
        assert request.header("x-forwarded-for") == request.header("x-real-ip") == CLIENT


@needs("curl", "haproxy")
async def test_the_checks_of_haproxy(tmp_path: Path) -> None:
    port = free_port()
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url, **PROXIED) as balancer,
        run_haproxy(
            tmp_path,
            f"listen front\n  mode http\n  bind 127.0.0.1:{port}\n  option httpchk GET /checked\n"
            f"  server lb {balancer.addresses[0].removeprefix('http://')} send-proxy-v2"
            " check check-send-proxy inter 100ms\n",
            port,
        ) as url,
    ):
        with trio.fail_after(10):
            await backend.wait_until(
                lambda backend: any(each.target == "/checked" for each in backend.requests)
            )
        assert (await curl(url))[0] == 0
        told = {each.target: each.header("x-real-ip") for each in asked(backend)}
        assert told == {"/checked": "127.0.0.1", "/": CLIENT}  # LOCAL is haproxy itself


@needs("curl")
async def test_curl_in_front() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url, **PROXIED) as balancer,
    ):
        url = balancer.addresses[0]
        assert await curl(url, "--haproxy-protocol", interface="127.0.0.1") == (0, "hello")
        assert asked(backend)[0].header("x-forwarded-for") == "127.0.0.1"
        closed = (52, 55, 56)  # curl's codes for no answer, failure to send, and a reset
        assert (await curl(url, "--haproxy-protocol"))[0] in closed  # not trusted
        assert (await curl(url, interface="127.0.0.1"))[0] in closed  # no header
        assert len(asked(backend)) == 1


@needs("curl", "haproxy")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_haproxy_behind(version: str, tmp_path: Path) -> None:
    port = free_port()
    async with (
        run_haproxy(
            tmp_path,
            f"frontend server\n  mode http\n  bind 127.0.0.1:{port} accept-proxy\n"
            "  http-request return status 200 content-type text/plain"
            ' lf-string "%[src] %[dst_port]"',
            port,
        ) as server,
        open_balancer({"url": server, "send_proxy": version}) as balancer,
    ):
        url = balancer.addresses[0]
        ours = url.rpartition(":")[2]
        for interface in (CLIENT, "127.0.0.3", CLIENT):
            assert await curl(url, interface=interface) == (0, f"{interface} {ours}")
        assert states(balancer) == ["alive"]


@needs("curl", "nginx")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_nginx_behind(version: str, tmp_path: Path) -> None:
    port = free_port()
    server = f"""
    listen 127.0.0.1:{port} proxy_protocol;
    location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_server_port"; }}
    """
    async with (
        run_nginx(tmp_path, server),
        open_balancer(
            {"url": f"http://127.0.0.1:{port}", "send_proxy": version},
            trusted_proxies="127.0.0.3",
        ) as balancer,
    ):
        url = balancer.addresses[0]
        ours = url.rpartition(":")[2]
        for interface in (CLIENT, "127.0.0.3", CLIENT):
            assert await curl(url, interface=interface) == (0, f"{interface} {ours}")
        for claimed in ("192.0.2.7", "2001:db8::7"):  # by a trusted proxy; nginx hides a port of 0
            forwarded = ("-H", f"X-Forwarded-For: {claimed}")
            assert await curl(url, *forwarded, interface="127.0.0.3") == (0, f"{claimed} ")
        assert states(balancer) == ["alive"]
