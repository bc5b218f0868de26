"""What a trusted proxy says of its clients counts on the fast path as it does on the slow one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fast_path.test_same_outcomes import broken_later
from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.rig import get, post
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

#: What a proxy may say, well-formed or not.
CLAIMS: list[tuple[str, ...]] = [
    (),
    ("X-Forwarded-For: 192.0.2.7",),
    ("x-forwarded-for:192.0.2.7 , 127.0.0.1", "X-Forwarded-Proto: https"),
    ("X-Forwarded-For: 198.51.100.1, 192.0.2.7", "X-Forwarded-For: 2001:db8::1"),
    ("X-Forwarded-For: 192.0.2.7:4711", "X-Forwarded-Host: shop.example:8443"),
    ("X-Forwarded-For: [2001:db8::1]:80", "X-Forwarded-Port: 8443", "X-Real-IP: 192.0.2.9"),
    ("X-Forwarded-For: unknown", "X-Forwarded-Proto: gopher", "X-Forwarded-Port: 0"),
    ("X-Forwarded-For: ", "X-Forwarded-Host: not a host"),
    ("X-Forwarded-For: 192.0.2.7\x80",),
    ('Forwarded: for="[2001:db8::1]:80";proto=https;host="a.example:1", for=127.0.0.1',),
    ("Forwarded: for=192.0.2.7", "X-Forwarded-For: 198.51.100.9"),
    ("Forwarded: for=", "Forwarded: for=192.0.2.7"),
    ("X-Forwarded-For: " + ", ".join(["198.51.100.1"] * 100),),
]


def clients_in(log: Path) -> list[str]:
    """Of the requests that are in an access log."""
    return [json.loads(line)["client"] for line in log.read_text().splitlines(True) if "\n" in line]


async def told(
    path: Path, fast_path: bool, requests: list[bytes], settings: dict[str, Any]
) -> tuple[list[list[tuple[str, str]]], list[str]]:
    """What a server was told about each request, and which clients are in the log."""
    async with (
        open_backend(scripts.answer(b"ok")) as server,
        open_balancer(
            server.url,
            health_check="off",
            fast_path=fast_path,
            access_log=str(path),
            access_log_format="json",
            **settings,
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for data in requests:
            await client.send(data)
            assert (await client.read_response()).body == b"ok"
        lines = [
            [line for line in each.headers if "forward" in line[0] or line[0] == "x-real-ip"]
            for each in server.requests
        ]
        await eventually(lambda: len(clients_in(path)) == len(requests))
        port = balancer.addresses[0].rpartition(":")[2]
    same = [[(name, value.replace(port, "PORT")) for name, value in each] for each in lines]
    return same, clients_in(path)


@pytest.mark.parametrize("trusted", [["127.0.0.1"], ["127.0.0.0/8", "198.51.100.0/24"], []])
@pytest.mark.parametrize("forwarded", ["off", "on", "only"])
async def test_both_paths_tell_servers_the_same(
    tmp_path: Path, on_slow_path: list[bytes], trusted: list[str], forwarded: str
) -> None:
    settings = {"trusted_proxies": trusted or "off", "forwarded": forwarded}
    requests = [
        get("/", *claims).replace(b"example.org", host)
        for claims in CLAIMS * 2  # the second time, they are known
        for host in (b"example.org", b"example.org:8080")
    ]
    requests.append(post(b"abc", *CLAIMS[1]))
    fast = await told(tmp_path / "fast", True, requests, settings)
    assert on_slow_path == []
    assert fast == await told(tmp_path / "slow", False, requests, settings)
    assert len(set(fast[1])) == (1 if not trusted else 5 if forwarded != "only" else 3)


async def test_many_clients_of_a_proxy_take_no_memory_for_ever() -> None:
    async with (
        open_backend(scripts.answer(b"ok")) as server,
        open_balancer(server.url, health_check="off", trusted_proxies=["127.0.0.1"]) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        plain = balancer._service._plain
        assert plain is not None
        for number in range(4100):
            await client.send(get("/", f"X-Forwarded-For: 10.0.{number >> 8}.{number & 255}"))
            await client.read_response()
            assert plain.fast_path.claims_known == number % 4096 + 1


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_request_that_fails_is_its_client_s(tmp_path: Path, fast_path: bool) -> None:
    path = tmp_path / "log"
    async with (
        open_backend(broken_later(b"1\r\na")) as server,
        open_balancer(
            server.url,
            health_check="off",
            fast_path=fast_path,
            trusted_proxies=["127.0.0.1"],
            access_log=str(path),
            access_log_format="json",
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get("/", "X-Forwarded-For: 192.0.2.7"))
        assert not (await client.read_response()).complete
        await eventually(lambda: clients_in(path))
    assert clients_in(path) == ["192.0.2.7"]
