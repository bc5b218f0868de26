"""What clients and servers see, and what is counted, is the same on both paths."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.client import open_client
from tests.support.net import free_port, http_url
from tests.support.rig import get, post, post_chunks
from trio_lb.config import Address, HealthCheck, Listen, Profile, Server
from trio_lb.config.address import parse_server_address
from trio_lb.runtime.load_balancer import open_load_balancer

if TYPE_CHECKING:
    from tests.support.backend import Exchange, Script
    from tests.support.client import Client, Response

OK = scripts.answer(b"ok")
BODY = bytes(range(256)) * 4096  # 1 MiB
REFUSED = object()  # a server that isn't there


@dataclass
class Case:
    """A conversation of one client.

    Attributes:
        name: of the test.
        sends: what the client sends: pieces, and the methods of the responses to read then.
        servers: scripts, or REFUSED.
        slow: targets of the requests that are served on the slow path, either way.
        settings: of the profile.
        path: of the servers' URLs.
    """

    name: str
    sends: list[tuple[list[bytes], list[str]]]
    servers: list[Any] = field(default_factory=lambda: [OK])
    slow: list[bytes] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    path: str = ""


def one(name: str, data: bytes, script: Script = OK, *, method: str = "GET", **more: Any) -> Case:
    """A single request, which arrives whole."""
    return Case(name, [([data], [method])], [script], **more)


def ordinary_twice(name: str, script: Script, *, method: str = "GET", **more: Any) -> Case:
    """Two plain requests in a row."""
    return Case(name, [([get("/1", method=method)], [method])] * 2, [script], **more)


CHUNKS = [b"a", b"bc" * 5000, b"d" * 70000]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EXTENSION = CHUNKED + b"1\r\na\r\n1;x=y\r\nb\r\n0\r\n\r\n"


def broken_later(*pieces: bytes) -> Script:
    """A chunked response that goes on with `pieces`, when the client has seen some of it."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(CHUNKED + b"5\r\nhello\r\n")
        for piece in pieces:
            await trio.sleep(0.01)
            await exchange.send(piece)
        await exchange.close()

    return script


def reset_later() -> Script:
    """A response that is broken off when the client has seen some of it."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789")
        await trio.sleep(0.01)
        await exchange.reset()

    return script


def odd_later() -> Script:
    """Chunk extensions and trailers in the middle of a response; the connection is kept."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(CHUNKED + b"5\r\nhello\r\n")
        await trio.sleep(0.01)
        await exchange.send(b"1;a=b\r\n")
        await trio.sleep(0.01)
        await exchange.send(b"x\r\n2\r\nyz\r\n0;c\r\nX-End: 1\r\n\r\n")

    return script


CASES = [
    one("get", get("/a?b", "Accept: */*", "X-Twice: 1", "x-twice:  2 ")),
    one("own request id", get("/", "X-Request-ID: mine")),
    one("forged identity", get("/", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=x")),
    one(
        "an offer of h2c, as Java makes with every request",
        get("/", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAA", "Upgrade: h2c"),
    ),
    one("trailers are welcome", get("/", "TE: trailers", "Connection: TE")),
    one("options in a row", get("/", "Connection: keep-alive, TE", "TE: trailers")),
    one("close among others", get("/", "Connection: close, TE", "TE: trailers")),
    one("an absolute target", get("http://example.org/a?b")),
    one("as curl asks a proxy", get("http://example.org/", "Proxy-Connection: Keep-Alive")),
    one(
        "an absolute target of another host",
        get("http://other.example/a"),
        slow=[b"http://other.example/a"],
    ),
    one("an absolute target, below a path", get("http://example.org/a"), path="/below"),
    one(
        "an absolute target that climbs",
        get("http://example.org/a/../b"),
        path="/below",
        slow=[b"http://example.org/a/../b"],
    ),
    one("via", get("/", "Via: 1.0 fred")),
    one("below a path", get("/a"), path="/below"),
    one("post", post(b"x" * 100), method="POST"),
    one("post of nothing", post(b""), method="POST"),
    one("post of 60 KiB", post(b"y" * 60 * 1024), method="POST"),
    Case("post in pieces", [([post(b"x" * 10)[:-3], b"xx", b"x"], ["POST"])]),
    Case("byte by byte", [([bytes([byte]) for byte in get("/")], ["GET"])]),
    Case("three at once", [([get("/1") + post(b"xyz") + get("/3")], ["GET", "POST", "GET"])]),
    Case(
        "odd among plain",
        [([get("/1") + get("/2", "Expect: 100-continue") + get("/3")], ["GET"] * 3)],
        slow=[b"/2"],
    ),
    Case(
        "an odd one, half of the next",
        [([get("/1", "TE: gzip") + get("/2")[:10], get("/2")[10:]], ["GET"] * 2)],
        slow=[b"/1"],
    ),
    one("client closes", get("/", "Connection: close")),
    one("HTTP/1.0", get("/", version="1.0")),
    one(
        "HTTP/1.0 with a body",
        get("/", "Content-Length: 3", method="POST", version="1.0") + b"xyz",
        method="POST",
    ),
    one(
        "HTTP/1.0 that would keep its connection", get("/", "Connection: keep-alive", version="1.0")
    ),
    one("chunks for HTTP/1.0", get("/", version="1.0"), scripts.chunked(CHUNKS), slow=[b"/"]),
    one("malformed", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
    one("target too long", get("/" + "a" * 9000)),
    one("head too large", get("/", *[f"X-{number}: {'a' * 900}" for number in range(40)])),
    one("head too large for a buffer", get("/", "X: " + "a" * 100_000)),
    one("large request", post(BODY), method="POST"),
    Case(
        "large request in pieces",
        [([post(BODY)[:100], post(BODY)[100:-7], post(BODY)[-7:]], ["POST"])],
    ),
    Case("large requests in a row", [([post(BODY) + get("/2") + post(BODY)], ["GET"] * 3)]),
    Case(
        "a large one that is all there",
        [([post(b"x" * 3000) + get("/2")], ["POST", "GET"])],
        settings={"replay_body": 10},
    ),
    Case(
        "one refuses a large one",
        [([post(BODY)], ["POST"])],
        [REFUSED, OK],
        slow=[b"/"],
    ),
    one("a large one, a reused connection dropped", post(BODY), scripts.drop_reused(OK)),
    one("a large one to who never answers whole", post(BODY), scripts.garbage_head(), slow=[b"/"]),
    one(
        "too large a request",
        post(b"x" * 50),
        method="POST",
        slow=[b"/"],
        settings={"limits": {"body": 10}},
    ),
    ordinary_twice("head", OK, method="HEAD"),
    ordinary_twice("204", scripts.raw(b"HTTP/1.1 204 No Content\r\n\r\n", reset=False)),
    ordinary_twice("500", scripts.answer(b"no", 500, [("X-A", "b"), ("Set-Cookie", "c")])),
    ordinary_twice("nothing", scripts.answer(b"")),
    ordinary_twice("large", scripts.answer(BODY)),
    ordinary_twice("chunked", scripts.chunked(CHUNKS)),
    ordinary_twice("chunked, nothing", scripts.chunked([])),
    ordinary_twice("trailers", scripts.chunked(CHUNKS, [("X-End", "1"), ("grpc-status", "0")])),
    ordinary_twice(
        "trailers that must not go on",
        scripts.chunked(CHUNKS, [("X-End", "1"), ("Host", "x")]),
        slow=[b"/1"] * 2,
    ),
    ordinary_twice(
        "too many trailers", scripts.chunked(CHUNKS, [("X-End", "1" * 100)] * 50), slow=[b"/1"] * 2
    ),
    ordinary_twice("chunk extension", scripts.raw(EXTENSION, reset=False), slow=[b"/1"] * 2),
    ordinary_twice("early hints", scripts.informational(103, [("Link", "x")], OK)),
    ordinary_twice(
        "long early hints",
        scripts.informational(103, [("Link", "x" * 3000)], OK),
        slow=[b"/1"] * 2,
    ),
    ordinary_twice(
        "early hints that speak of a body",
        scripts.informational(103, [("Content-Length", "0")], OK),
        slow=[b"/1"] * 2,
    ),
    ordinary_twice("until close", scripts.until_close(b"body")),
    ordinary_twice("until close, large", scripts.until_close(BODY)),
    ordinary_twice("HTTP/1.0 server", scripts.until_close(b"body", "1.0")),
    ordinary_twice("server closes", scripts.closing()),
    ordinary_twice("overlong", scripts.overlong(b"body", b"more")),
    ordinary_twice("drops reused ones", scripts.drop_reused(OK), slow=[b"/1"]),
    ordinary_twice("never answers whole", scripts.garbage_head(), slow=[b"/1"] * 2),
    one("cut", get("/"), scripts.cut_body(b"a" * 10, 20, reset=False)),
    one("cut by reset", get("/"), reset_later()),
    one("cut between chunks", get("/"), scripts.cut_chunked([b"abc"], reset=False)),
    one("cut in a chunk", get("/"), scripts.raw(CHUNKED + b"9\r\nabc", reset=False)),
    one("broken chunk", get("/"), scripts.raw(CHUNKED + b"1\r\nabc", reset=False), slow=[b"/"]),
    ordinary_twice("odd later", odd_later(), slow=[b"/1"] * 2),
    one("broken later", get("/"), broken_later(b"1\r\na", b"bc")),
    one("trailers later", get("/"), broken_later(b"0\r\nX-End: 1\r\n\r\n")),
    one("cut trailers later", get("/"), broken_later(b"0\r\nX-End: 1\r\n")),
    one("garbage later", get("/"), broken_later(b"zz\r\n"), slow=[b"/"]),
    Case("one refuses", [([get("/")], ["GET"])], [REFUSED, OK], slow=[b"/"]),
    Case("one refuses a post", [([post(b"x")], ["POST"])], [REFUSED, OK], slow=[b"/"]),
    Case("all refuse", [([get("/")], ["GET"])], [REFUSED, REFUSED], slow=[b"/"]),
    Case("one breaks", [([get("/")], ["GET"])], [scripts.garbage_head(), OK], slow=[b"/"]),
    Case(
        "one breaks at a post",
        [([post(b"x")], ["POST"])],
        [scripts.garbage_head(), OK],
        slow=[b"/"],
    ),
    ordinary_twice("two for a connection", OK, settings={"limits": {"requests_per_connection": 2}}),
    one("no keep-alive", get("/"), settings={"timeouts": {"keep_alive": 0}}),
]


def cut(data: bytes, *places: int) -> list[bytes]:
    """Cut there, counted from the end of its head."""
    head = data.index(b"\r\n\r\n") + 4
    return [data[i:j] for i, j in pairwise((0, *(head + place for place in places), len(data)))]


ABC = post_chunks(b"abc", b"defgh")
PIECES = cut(ABC, 0, 1, 3, 5, 6, 7, 8, 14, 21, 22)
PUT = cut(post_chunks(b"abc", b"defgh", method="PUT"), 0, 5, 8, 14)
MANY = post_chunks(*(BODY[:size] for size in (1, 70_000, 16, 300_000, 5000, 262_144)))
LATER_TRAILERS = MANY[:-2] + b"X-End: 1\r\nHost: x\r\n\r\n"

CHUNKED_REQUESTS = [
    one("chunked", ABC, method="POST"),
    one("chunked, nothing", post_chunks(), method="POST"),
    one("chunked get", post_chunks(b"abc", method="GET")),
    one("chunked head", post_chunks(b"abc", method="HEAD"), method="HEAD"),
    one("chunked, below a path", ABC, method="POST", path="/below"),
    Case("chunked in pieces", [(PIECES, ["POST"])]),
    Case("chunked byte by byte", [([bytes([byte]) for byte in ABC], ["POST"])]),
    Case("chunked among others", [([get("/1") + ABC + ABC + get("/4")], ["GET"] * 4)]),
    Case("others behind a last piece", [([*PIECES, b"", ABC + get("/3")], ["GET"] * 3)]),
    one("large chunks", MANY, method="POST"),
    Case("large chunks in a row", [([MANY + MANY + get("/3") + post(BODY) + ABC], ["GET"] * 5)]),
    Case("large chunks, put", [([b"PUT" + MANY[4:] + get("/2")], ["GET"] * 2)]),
    Case("tiny chunks", [([post_chunks(*[b"x"] * 50_000) + get("/2")], ["GET"] * 2)]),
    Case("request trailers", [([ABC[:-2] + b"X-End: 1\r\n\r\n"], ["POST"])], slow=[b"/"]),
    Case("later request trailers", [([LATER_TRAILERS + get("/2")], ["GET"] * 2)], slow=[b"/"]),
    Case("request extension", [([ABC.replace(b"5", b"5;a=b") + ABC], ["GET"] * 2)], slow=[b"/"]),
    Case(
        "later request extension",
        [([*cut(ABC.replace(b"5", b"5;a=b"), 0, 8, 10, 20), ABC], ["GET"] * 2)],
        slow=[b"/"],
    ),
    Case("later zeros", [(cut(ABC.replace(b"5", b"005"), 0, 8), ["POST"])], slow=[b"/"]),
    Case("malformed at once", [([ABC.replace(b"5", b"z")], ["POST"])], slow=[b"/"]),
    Case("chunked, one refuses", [(PIECES, ["POST"])], [REFUSED, OK], slow=[b"/"]),
    Case("chunked, one breaks", [(PIECES, ["POST"])], [scripts.garbage_head(), OK], slow=[b"/"]),
    Case("put, one breaks", [([b"".join(PUT)], ["PUT"])], [scripts.garbage_head(), OK],
         slow=[b"/"]),
    Case("put in pieces, one breaks", [(PUT, ["PUT"])], [scripts.garbage_head(), OK],
         slow=[b"/"]),
    Case(
        "large put, one breaks",
        [([b"PUT" + MANY[4:]], ["PUT"])],
        [scripts.garbage_head(), OK],
        slow=[b"/"],
    ),
    Case("put in pieces, dropped", [([get("/1")], ["GET"]), (PUT, ["PUT"])],
         [scripts.drop_reused(OK)], slow=[b"/"]),
    Case(
        "chunked within the limit",
        [([MANY], ["POST"])],
        settings={"limits": {"body": 1_000_000}},
    ),
    Case(
        "chunked over the limit",
        [([ABC], ["POST"])],
        slow=[b"/"],
        settings={"limits": {"body": 7}},
    ),
    one("chunked, trailers back", MANY, scripts.chunked(CHUNKS, [("X-End", "1")]), method="POST"),
    one("chunked, odd later", ABC, odd_later(), method="POST", slow=[b"/"]),
    one("large chunks, odd later", MANY, odd_later(), method="POST", slow=[b"/"]),
]  # fmt: skip


def shown(response: Response) -> object:
    """What two paths must agree on: all of it, but for ids of requests and the time."""
    headers = [line for line in response.headers if line[0] not in ("x-request-id", "date")]
    headers += [("date", "") for name, _ in response.headers if name == "date"]
    body = response.body if b'"' not in response.body else b""
    return (
        response.end, response.status, response.reason, headers, body, response.trailers,
        response.informational, response.http_version,
    )  # fmt: skip


async def send(client: Client, pieces: list[bytes]) -> None:
    """Sends what a client says, one piece after the other, until nobody listens any more."""
    with suppress(trio.BrokenResourceError):
        for piece in pieces:
            await client.send(piece)
            if len(pieces) > 1:
                await trio.sleep(0.001)


async def outcome(case: Case, fast_path: bool) -> dict[str, object]:
    """Runs a case; returns all that could be noticed of it."""
    async with AsyncExitStack() as stack:
        backends = [
            None if script is REFUSED else await stack.enter_async_context(open_backend(script))
            for script in case.servers
        ]
        urls = [
            http_url("127.0.0.1", free_port()) if each is None else each.url for each in backends
        ]
        profile = Profile(
            listen=(Listen(address=Address(host="127.0.0.1", port=0)),),
            servers=tuple(Server(address=parse_server_address(url + case.path)) for url in urls),
            health_check=HealthCheck(enabled=False),
            fast_path=fast_path,
            **settings_of(case),
        )
        balancer = await stack.enter_async_context(open_load_balancer(profile))
        responses = []
        async with open_client(balancer.addresses[0]) as client:
            for pieces, methods in case.sends:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send, client, pieces)
                    for method in methods:
                        response = await client.read_response(method)
                        responses.append(shown(response))
                        if not response.complete:
                            break
                    nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            while balancer.statistics().client_connections:  # noqa: ASYNC110
                await trio.sleep(0.001)
        statistics = balancer.statistics()
        return {
            "responses": responses,
            "requests": [
                [
                    (
                        each.method,
                        each.target,
                        [line for line in each.headers if "request-id" not in line[0]],
                        each.header("x-request-id") == "mine" or bool(each.header("x-request-id")),
                        each.body,
                        each.trailers,
                        each.complete,
                    )
                    for each in backend.requests
                ]
                for backend in backends
                if backend is not None
            ],
            "connections": [len(each.connections) for each in backends if each is not None],
            "servers": [
                (each.state, each.active, each.served, each.failed, each.bytes_received,
                 each.bytes_sent)
                for each in statistics.servers
            ],
            "classes": statistics.responses_by_class,
            "total": statistics.requests_total,
        }  # fmt: skip


def settings_of(case: Case) -> dict[str, Any]:
    """The settings of a case as a profile has them."""
    from trio_lb.config.model import Limits, Timeouts

    kinds: dict[str, type[Limits | Timeouts]] = {"limits": Limits, "timeouts": Timeouts}
    return {
        key: kinds[key](**value) if key in kinds else value for key, value in case.settings.items()
    }


@pytest.mark.parametrize("case", CASES + CHUNKED_REQUESTS, ids=lambda case: case.name)
async def test_both_paths_agree(case: Case, on_slow_path: list[bytes]) -> None:
    with trio.fail_after(20):
        fast = await outcome(case, True)
        assert on_slow_path == case.slow
        slow = await outcome(case, False)
    assert fast == slow
