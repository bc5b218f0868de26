"""A connection on which somebody was authenticated serves its client alone, and ends with it.

In memory the slow path serves it, on sockets the plain one has to notice it first.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Literal

import pytest
import trio

from tests.support import scripts
from tests.support.backend import End
from tests.support.rig import get, open_bed, open_rig, post

if TYPE_CHECKING:
    from tests.support.backend import Connection, Exchange, Script
    from tests.support.client import Client

both = pytest.mark.parametrize("kind", ["memory", "sockets"])


def authenticating(delay: float = 0) -> Script:
    """Whose requests come on a connection is said once, in the second of two legs (NTLM)."""
    users: dict[Connection, bytes] = {}
    challenged: set[Connection] = set()

    async def script(exchange: Exchange) -> None:
        body = await exchange.read_body()
        scheme, _, said = (exchange.request.header("authorization") or "").partition(" ")
        here = exchange.connection
        if scheme == "NTLM" and said == "hello":
            challenged.add(here)
            await exchange.respond(b"", 401, [("WWW-Authenticate", "NTLM challenge")])
            return
        if scheme == "NTLM" and here in challenged:
            users[here] = said.encode()
        if exchange.request.target == "/slow":
            await trio.sleep(delay)
        await exchange.respond(users.get(here, b"nobody") + body)

    return script


async def ask(client: Client, data: bytes) -> tuple[int, bytes]:
    await client.send(data)
    response = await client.read_response()
    return response.status, response.body


async def log_in(client: Client, name: str) -> None:
    assert await ask(client, get("/", "Authorization: NTLM hello")) == (401, b"")
    assert await ask(client, get("/", f"Authorization: NTLM {name}")) == (200, name.encode())


@both
async def test_nobody_else_is_taken_for_its_user(kind: str) -> None:
    async with open_bed(kind, authenticating()) as bed:
        async with bed.client() as alice, bed.client() as bob, bed.client() as carol:
            await log_in(alice, "alice")
            assert await ask(carol, get()) == (200, b"nobody")
            await log_in(bob, "bob")
            for _ in range(3):
                assert await ask(alice, get()) == (200, b"alice")
                assert await ask(bob, get()) == (200, b"bob")
                assert await ask(carol, get()) == (200, b"nobody")
        async with bed.client() as later:
            assert await ask(later, get()) == (200, b"nobody")


@both
async def test_it_ends_with_its_client(kind: str) -> None:
    async with open_bed(kind, authenticating()) as bed:
        [backend] = bed.backends
        async with bed.client() as client:
            await log_in(client, "alice")
            assert [each.end for each in backend.connections] == [End.OPEN]
        with trio.fail_after(2):
            await backend.wait_until(lambda backend: not backend.open_connections)


@both
async def test_all_legs_and_what_follows_go_over_it_whomever_the_algorithm_would_pick(
    kind: str,
) -> None:
    async with open_bed(kind, *[authenticating() for _ in range(3)]) as bed:
        async with bed.client() as client:
            await log_in(client, "alice")
            await client.send(get("/2") + post(b"!") + get("/4"))
            bodies = [(await client.read_response()).body for _ in range(3)]
            assert bodies == [b"alice", b"alice!", b"alice"]
        assert [len(backend.connections) for backend in bed.backends] == [1, 0, 0]


@pytest.mark.parametrize(
    "said",
    [
        "WWW-Authenticate: NTLM",
        "www-authenticate: ntlm",
        "WWW-Authenticate: Negotiate oRQwEqADCgEBow==",
        'WWW-Authenticate: Basic realm="x", Negotiate',
        "WWW-Authenticate: Basic\r\nWWW-Authenticate: NTLM",
        "WWW-Authenticate: Kerberos",
        "WWW-Authenticate: Nego2",
        "WWW-Authenticate: CredSSP",
        "Persistent-Auth: true",
    ],
)
@both
async def test_what_a_server_says_is_enough(kind: str, said: str) -> None:
    assert await connections_for_two(kind, get(), f"{said}\r\n".encode()) == 2


@pytest.mark.parametrize("said", ["NTLM a", "ntlm a", "Negotiate a", "NEGOTIATE"])
@both
async def test_what_a_client_says_is_enough(kind: str, said: str) -> None:
    assert await connections_for_two(kind, get("/", f"Authorization: {said}"), b"") == 2


@pytest.mark.parametrize(
    "said", ['Basic realm="NTLM"', "Basic, Bearer", "Digest nonce=ntlm", "NTLMv2", "Negotiator a"]
)
@both
async def test_other_schemes_leave_it_to_everybody(
    kind: str, said: str, on_slow_path: list[bytes]
) -> None:
    answer = f"WWW-Authenticate: {said}\r\n".encode()
    assert await connections_for_two(kind, get("/", f"Authorization: {said}"), answer) == 1
    assert on_slow_path == ([b"/"] * 2 if kind == "memory" else [])


async def connections_for_two(kind: str, first: bytes, said: bytes) -> int:
    """How many connections a server sees of two clients, who ask one after the other."""
    answer = b"HTTP/1.1 401 \r\nContent-Length: 0\r\n" + said + b"\r\n"

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(answer)

    async with open_bed(kind, script) as bed:
        async with bed.client() as client, bed.client() as other:
            assert (await ask(client, first))[0] == 401
            assert (await ask(other, get()))[0] == 401
        return len(bed.backends[0].connections)


@both
async def test_closed_by_its_server_the_next_request_is_like_a_first_one(kind: str) -> None:
    async with open_bed(kind, authenticating()) as bed, bed.client() as client:
        [backend] = bed.backends
        await log_in(client, "alice")
        await backend.stop()
        await backend.start()
        assert await ask(client, post(b"!")) == (200, b"nobody!")
        await log_in(client, "alice")
        assert await ask(client, get()) == (200, b"alice")


async def test_a_server_that_is_out_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(authenticating(), authenticating()) as rig, rig.client() as client:
        await log_in(client, "alice")
        assert rig.servers.mark_down(rig.servers.members[0], "test")
        assert await ask(client, get()) == (200, b"nobody")
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        assert len(rig.backends[1].requests) == 1


async def test_while_it_is_idle_it_takes_no_slot_and_a_full_server_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_rig(authenticating(1), authenticating(1), max_connections=1) as rig,
        rig.client() as client,
        rig.client() as other,
        rig.client() as third,
    ):
        await log_in(client, "alice")
        assert [counters.active for counters in rig.servers.snapshot()] == [0, 0]
        await other.send(get("/slow"))
        await third.send(get("/slow"))
        await trio.sleep(0.5)
        assert [counters.active for counters in rig.servers.snapshot()] == [1, 1]
        await client.send(get())
        response = await client.read_response()
        assert (response.status, response.header("retry-after")) == (503, "1")
        await other.read_response()
        await third.read_response()
        assert await ask(client, get()) == (200, b"alice")
        await client.send(get("/slow"))
        await trio.sleep(0.5)
        assert [counters.active for counters in rig.servers.snapshot()] == [1, 0]
        await client.read_response()


async def test_the_age_of_it_does_not_matter_to_a_post(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_rig(authenticating()) as rig, rig.client() as client:
        await log_in(client, "alice")
        await trio.sleep(9)
        assert await ask(client, post(b"!")) == (200, b"alice!")


@both
async def test_a_tunnel_is_offered_on_it(kind: str) -> None:
    switch, log = scripts.switching(scripts.mirror), authenticating()

    async def script(exchange: Exchange) -> None:
        await (switch if exchange.request.header("upgrade") else log)(exchange)

    async with open_bed(kind, script) as bed, bed.client() as client:
        await log_in(client, "alice")
        await client.send(get("/", "Connection: Upgrade", "Upgrade: websocket") + b"hello")
        data = b""
        while not data.endswith(b"hello"):
            data += await client.stream.receive_some(4096)
        assert data.startswith(b"HTTP/1.1 101 ")
        [connection] = bed.backends[0].connections
        assert len(connection.requests) == 3


@pytest.mark.parametrize("send_proxy", [None, "v2"])
async def test_whom_a_trusted_proxy_speaks_for_next_is_somebody_else(
    send_proxy: Literal["v2"] | None,
) -> None:
    async with (
        open_rig(
            authenticating(),
            send_proxy=send_proxy,
            trusted_proxies=(ipaddress.ip_network("192.0.2.1"),),
        ) as rig,
        rig.client() as client,
    ):
        await log_in(client, "alice")
        assert await ask(client, get("/", "X-Forwarded-For: 198.51.100.1")) == (200, b"nobody")
        backend = rig.backends[0]
        assert len(backend.connections) == 2
        await backend.wait_until(lambda backend: len(backend.open_connections) == 1)
