"""Who the client is, through a proxy: what is believed, what servers are told, who is served."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING, Literal

import pytest
import trio

from tests.support import scripts
from tests.support.rig import get, open_rig, post
from trio_lb.config import ForwardedField, Timeouts, Upstream
from trio_lb.http.proxy_protocol import LOCAL, Endpoint, ProxyHeader, write_v1, write_v2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio.testing import MockClock

    from tests.support.client import Client
    from trio_lb.config import TrustedNetwork

PROXY = "10.0.0.1"
TRUSTED: tuple[TrustedNetwork, ...] = (ipaddress.ip_network("10.0.0.0/8"),)
ENDS = ProxyHeader(Endpoint("198.51.100.7", 4711), Endpoint("203.0.113.1", 443))
OTHER = ProxyHeader(Endpoint("2001:db8::7", 4711), Endpoint("2001:db8::1", 443))
WRITERS = [write_v1, write_v2]
BOTH = ForwardedField.ON
VERSIONS: list[Literal["v1", "v2"]] = ["v1", "v2"]


def for_client(address: str, target: str = "/") -> bytes:
    return get(target, f"X-Forwarded-For: {address}")


async def asked(client: Client, requests: Sequence[bytes]) -> None:
    for request in requests:
        await client.send(request)
        assert (await client.read_response()).status == 200


async def test_the_log_has_the_client_of_each_request_and_otherwise_the_peer() -> None:
    async with open_rig(scripts.answer(), trusted_proxies=TRUSTED) as rig:
        async with rig.client(PROXY) as client:
            await asked(client, [for_client("198.51.100.7"), get(), for_client("::ffff:1.2.3.4")])
            await client.send(get("/", "X-Forwarded-For: 198.51.100.7", "Expect: x"))
            assert (await client.read_response()).status == 417
        async with rig.client("198.51.100.9") as client:
            await asked(client, [for_client("198.51.100.7")])
        async with rig.client(PROXY) as client:
            await client.send(b"nonsense\r\n\r\n")
            assert (await client.read_response()).status == 400
        await rig.idle()
        clients = [each.client for each in rig.records]
        assert clients == ["198.51.100.7", PROXY, "1.2.3.4", PROXY, "198.51.100.9", PROXY]
        first, *_, last = rig.backends[0].requests
        assert first.header("x-forwarded-for") == f"198.51.100.7, {PROXY}"
        assert last.header("x-forwarded-for") == last.header("x-real-ip") == "198.51.100.9"


@pytest.mark.parametrize("write", WRITERS)
async def test_a_proxy_header_says_who_the_client_is(write: Callable[[ProxyHeader], bytes]) -> None:
    async with open_rig(scripts.answer(), trusted_proxies=TRUSTED) as rig:
        for ends, address in ((ENDS, "198.51.100.7"), (OTHER, "2001:db8::7"), (LOCAL, PROXY)):
            async with rig.client(PROXY, proxy_protocol=True) as client:
                # In one piece with two requests behind it.
                await client.send(write(ends) + get("/1") + post(b"body"))
                assert (await client.read_response()).status == 200
                assert (await client.read_response()).status == 200
            for request in rig.backends[0].requests[-2:]:
                assert request.header("x-forwarded-for") == address
        await rig.idle()
        assert [each.client for each in rig.records[::2]] == ["198.51.100.7", "2001:db8::7", PROXY]


@pytest.mark.parametrize("write", WRITERS)
async def test_a_proxy_header_byte_by_byte(
    write: Callable[[ProxyHeader], bytes], autojump_clock: MockClock
) -> None:
    timeouts = Timeouts(client_head=10)
    async with open_rig(scripts.answer(), trusted_proxies=TRUSTED, timeouts=timeouts) as rig:
        async with rig.client(PROXY, proxy_protocol=True) as client:
            for byte in write(ENDS) + get():
                await client.send(bytes([byte]))
                await trio.sleep(0.05)
            assert (await client.read_response()).status == 200
        assert rig.backends[0].requests[0].header("x-real-ip") == "198.51.100.7"


async def test_claims_behind_a_proxy_header_count_if_its_client_is_trusted() -> None:
    async with open_rig(scripts.answer(), trusted_proxies=TRUSTED) as rig:
        for source, address in (("10.0.0.9", "1.2.3.4"), ("198.51.100.7", "198.51.100.7")):
            ends = ProxyHeader(Endpoint(source, 1), Endpoint("10.0.0.1", 80))
            async with rig.client(PROXY, proxy_protocol=True) as client:
                await asked(client, [write_v2(ends) + for_client("1.2.3.4")])
            assert rig.backends[0].requests[-1].header("x-real-ip") == address


@pytest.mark.parametrize(
    ("peer", "sent", "reason"),
    [
        ("198.51.100.9", write_v1(ENDS) + get(), "not from trusted_proxies"),
        (PROXY, get(), "the connection does not begin with a PROXY header"),
        (PROXY, write_v1(ENDS)[:-2] + b"\n" + get(), "a malformed PROXY header"),
        (PROXY, b"PROXY UNKNOWN " + b"x" * 100, "a PROXY header without an end"),
    ],
)
async def test_who_is_not_served(
    peer: str, sent: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(trusted_proxies=TRUSTED) as rig:
        async with rig.client(peer, proxy_protocol=True) as client:
            await client.send(sent)
            assert (await client.read_until_close())[0] == b""
        await rig.idle()
        assert not rig.records
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith(f"connection from {peer} refused: {reason}")


async def test_a_header_that_is_late_or_cut(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    timeouts = Timeouts(client_head=10)
    async with open_rig(trusted_proxies=TRUSTED, timeouts=timeouts) as rig:
        started = trio.current_time()
        async with rig.client(PROXY, proxy_protocol=True) as client:
            await client.send(b"PROXY TCP4")
            assert (await client.read_until_close())[0] == b""
        assert 10 <= trio.current_time() - started <= 11
        await trio.sleep(60)
        async with rig.client(PROXY, proxy_protocol=True) as client:
            await client.send(b"PROXY TCP4")
        await rig.idle()
    late, cut = (record.message for record in caplog.records)
    assert late.endswith("no whole PROXY header within 10 s")
    assert cut.endswith("the connection ended in its PROXY header")


async def test_who_only_looks_whether_we_listen_is_not_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_rig(trusted_proxies=TRUSTED) as rig:
        async with rig.client(PROXY, proxy_protocol=True):
            pass
        await rig.idle()
    assert not caplog.records


async def test_many_refusals_are_few_lines(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(trusted_proxies=TRUSTED) as rig:
        for pause in (0, 0, 0, 60, 0):
            await trio.sleep(pause)
            async with rig.client("192.0.2.9", proxy_protocol=True) as client:
                await client.read_until_close()
    first, second = (record.message for record in caplog.records)
    assert first == "connection from 192.0.2.9 refused: not from trusted_proxies"
    assert second == f"{first} (2 more like it before)"


async def test_a_client_can_not_name_the_claims_about_it_away() -> None:
    """RFC 9110 section 7.6.1: what Connection names is left out, but not what proxies have said."""
    async with open_rig(scripts.answer(), trusted_proxies=TRUSTED, forwarded=BOTH) as rig:
        named = "Connection: X-Forwarded-For, X-Real-IP, Forwarded"
        claims = ("X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.7")
        async with rig.client(PROXY) as client:
            await asked(client, [get("/", named, *claims)])
        [request] = rig.backends[0].requests
        assert request.header("x-forwarded-for") == f"198.51.100.7, {PROXY}"
        assert request.header("x-real-ip") == "198.51.100.7"
        assert (request.header("forwarded") or "").startswith(f"for=198.51.100.7, for={PROXY};")


async def test_elsewhere_a_proxy_header_is_no_request() -> None:
    async with open_rig(trusted_proxies=TRUSTED) as rig, rig.client(PROXY) as client:
        await client.send(write_v1(ENDS) + get())
        assert (await client.read_response()).status == 400


# To servers


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_is_told_of_the_client(version: Literal["v1", "v2"]) -> None:
    async with open_rig(scripts.answer(), send_proxy=version, trusted_proxies=TRUSTED) as rig:
        async with rig.client("198.51.100.9") as client:
            await asked(client, [get(), get(), post(b"body")])
        async with rig.client(PROXY, proxy_protocol=True) as client:
            await asked(client, [write_v1(OTHER) + get()])
        async with rig.client(PROXY) as client:
            await asked(client, [for_client("1.2.3.4")])
        first, second, third = rig.backends[0].connections
        here = Endpoint("127.0.0.1", 8000)
        assert first.proxy_header == ProxyHeader(Endpoint("198.51.100.9", 50000), here)
        assert len(first.requests) == 3
        assert second.proxy_header == OTHER
        assert third.proxy_header == ProxyHeader(Endpoint("1.2.3.4", 0), Endpoint("0.0.0.0", 0))
        for connection in (first, second, third):
            assert bytes(connection.received).count(b"PROXY ") == (version == "v1")


async def test_a_connection_that_announced_a_client_never_serves_another() -> None:
    """One client's connection, whose requests come from different clients of a trusted proxy."""
    addresses = ["1.1.1.1", "2.2.2.2", "1.1.1.1", "3.3.3.3", "2.2.2.2", "2.2.2.2"]
    async with open_rig(scripts.answer(), send_proxy="v2", trusted_proxies=TRUSTED) as rig:
        async with rig.client(PROXY) as client:
            await asked(client, [for_client(address) for address in addresses])
        connections = rig.backends[0].connections
        assert len(connections) == 3
        for connection in connections:
            assert connection.proxy_header is not None
            assert connection.proxy_header.source is not None
            told = {request.header("x-real-ip") for request in connection.requests}
            assert told == {connection.proxy_header.source.host}


async def test_idle_connections_of_clients_that_left_evict_one() -> None:
    upstream = Upstream(idle_connections=2)
    async with open_rig(
        scripts.answer(), send_proxy="v1", trusted_proxies=TRUSTED, upstream=upstream
    ) as rig:
        async with rig.client(PROXY) as client:
            await asked(client, [for_client(f"1.1.1.{n}") for n in (1, 2, 3, 3, 3)])
        assert len(rig.upstreams) == 2
        assert len(rig.backends[0].connections) == 3


async def test_a_reused_connection_that_is_stale_is_announced_anew() -> None:
    script = scripts.in_turn(scripts.answer(), scripts.raw(b"", reset=True), scripts.answer())
    async with open_rig(script, send_proxy="v1") as rig, rig.client() as client:
        await asked(client, [get(), get()])
        first, second = rig.backends[0].connections
        assert first.proxy_header == second.proxy_header != LOCAL
        assert (len(first.requests), len(second.requests)) == (2, 1)


async def test_another_server_is_told_as_well() -> None:
    async with open_rig(scripts.raw(b"", reset=True), scripts.answer(), send_proxy="v2") as rig:
        assert (await rig.ask(get())).status == 200
        headers = [backend.connections[0].proxy_header for backend in rig.backends]
        assert headers[0] == headers[1]
        assert headers[0] is not None


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_without_an_address_is_announced_as_unknown(
    version: Literal["v1", "v2"],
) -> None:
    async with open_rig(scripts.answer(), send_proxy=version) as rig:
        async with rig.client("unix:") as client:
            await asked(client, [get()])
        [connection] = rig.backends[0].connections
        assert connection.proxy_header == LOCAL
        data = bytes(connection.received)
        assert data.startswith(
            b"PROXY UNKNOWN\r\n" if version == "v1" else b"\r\n\r\n\0\r\nQUIT\n!"
        )
