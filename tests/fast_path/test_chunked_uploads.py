"""Chunked bodies of requests on the fast path: where they end, and who goes on in their middle."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.paths import both_paths
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backend import Backend, Exchange
    from tests.support.client import Client


DATA = random.Random(1).randbytes(400_000)

#: A body that looks like requests, in chunks that look like them too.
INSIDE = (b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\nGET /it HTTP/1.1\r\n\r\n")
BEHIND = get("/2") + post(b"0\r\n\r\n", target="/3") + post_chunks(b"z", target="/4") + get("/5")
TARGETS = ["/1", "/2", "/3", "/4", "/5"]


async def all_at_rest() -> None:
    """Until all that can go on has gone on."""
    await trio.testing.wait_all_tasks_blocked(0.002)


async def tell_body(exchange: Exchange) -> None:
    """Answers with the body."""
    await exchange.respond(await exchange.read_body())


async def all_five(backend: Backend, client: Client, body: bytes) -> None:
    """Five requests were sent, the first with this body: none was swallowed, and none made up."""
    for expected in (body, b"", b"0\r\n\r\n", b"z", b""):
        assert (await client.read_response()).body == expected
    assert [request.target for request in backend.requests] == TARGETS
    assert not backend.protocol_errors
    backend.requests.clear()


@pytest.mark.no_cover  # the same at every byte, which reaches no other lines
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_is_behind_the_end_is_the_next_request(
    method: str, on_slow_path: list[bytes]
) -> None:
    """Cut at every byte."""
    first = post_chunks(*INSIDE, target="/1", method=method)
    data = first + BEHIND
    async with (
        open_backend(tell_body) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for place in range(len(data)):
            await client.send(data[:place])
            await all_at_rest()
            await client.send(data[place:])
            await all_five(backend, client, b"".join(INSIDE))
        assert not on_slow_path
        assert balancer.statistics().servers[0].bytes_sent == len(data) * (
            len(b"".join(INSIDE)) + len(b"0\r\n\r\n") + len(b"z")
        )


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("line", "odd"),
    [(b"0\r\n", b"0\r\nX-End: 1\r\n"), (b"1\r\nx", b"1;a=b\r\nx"), (b"1\r\nx", b"01\r\nx")],
    ids=["trailer", "extension", "zero"],
)
async def test_what_is_odd_is_read_on_by_the_slow_path(
    method: str, line: bytes, odd: bytes, on_slow_path: list[bytes]
) -> None:
    """From wherever the fast path is then; which goes on with the next request."""
    first = post_chunks(b"abc", b"x", b"defgh", target="/1", method=method).replace(line, odd)
    data = first + BEHIND
    async with (
        open_backend(tell_body) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for place in range(len(first)):
            await client.send(data[:place])
            await all_at_rest()
            await client.send(data[place:])
            await all_five(backend, client, b"abcxdefgh")
        assert on_slow_path == [b"/1"] * len(first)
        assert balancer.statistics().servers[0].failed == 0


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_the_slow_path_goes_on_anywhere(method: str, on_slow_path: list[bytes]) -> None:
    """The server says something while the client has sent so much: whatever that is, all the rest
    arrives, be it of a chunk, a line end, or a size.
    """
    first = post_chunks(*INSIDE, DATA[:20], target="/1", method=method)
    go_on = trio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.request.target == "/1":
            await go_on.wait()
            await exchange.send_head(103, [("Link", "x")])
        await tell_body(exchange)

    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        head = len(get("/1", "Transfer-Encoding: chunked", method=method))
        for place in range(head, len(first)):
            go_on = trio.Event()
            await client.send(first[:place])
            await eventually(lambda: backend.requests)
            await all_at_rest()
            go_on.set()
            await all_at_rest()
            await client.send(first[place:] + BEHIND)
            await all_five(backend, client, b"".join(INSIDE) + DATA[:20])
        assert on_slow_path == [b"/1"] * (len(first) - head)
        assert len(backend.connections) == 1
        assert balancer.statistics().servers[0].failed == 0


@pytest.mark.parametrize("seed", range(10))
async def test_random_chunks_in_random_pieces(seed: int, on_slow_path: list[bytes]) -> None:
    """Many requests in a row, with bodies of all sizes; some are odd."""
    rng = random.Random(seed)
    bodies, data = [], b""
    for _ in range(30):
        body, chunks = b"", []
        for _ in range(rng.randrange(20)):
            size = min(int(rng.paretovariate(0.4)), 100_000)
            begin = rng.randrange(len(DATA) - size)
            chunks.append(DATA[begin : begin + size])
            body += chunks[-1]
        end = rng.choice([b"0\r\n\r\n"] * 4 + [b"0\r\nA: b\r\n\r\n", b"00\r\n\r\n"])
        data += post_chunks(*chunks, method=rng.choice(["POST", "PUT"]), end=end)
        bodies.append(body)

    async def send_all(client: Client) -> None:
        at = 0
        while at < len(data):
            size = min(int(rng.paretovariate(0.2)), 300_000)
            await client.send(data[at : at + size])
            at += size
            if rng.random() < 0.3:
                await trio.sleep(0.001)

    async with (
        open_backend(tell_body_in_whole) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_all, client)
        for body in bodies:
            assert (await client.read_response()).body == body
        assert balancer.statistics().servers[0].bytes_sent == sum(map(len, bodies))
        assert 0 < len(on_slow_path) < len(bodies)


async def tell_body_in_whole(exchange: Exchange) -> None:
    """Answers with the body, however large it is."""
    body = b""
    while data := await exchange.receive():
        body += data
    await exchange.respond(body)


MALFORMED = {
    "size": (b"3\r\nabc\r\n", b"z\r\n"),
    "no line end": (b"3\r\nabc", b"x\r\n0\r\n\r\n"),
    "half a line end": (b"3\r\nabc\r", b"x"),
    "a chunk for a line end": (b"3\r\nabc", b"5\r\nhello\r\n0\r\n\r\n"),
    "bare line feed": (b"3\r\nabc\r\n", b"3\nabc\r\n"),
    "overflow": (b"3\r\nabc\r\n", b"10000000000000003\r\nabc\r\n"),
    "negative": (b"3\r\nabc\r\n", b"-3\r\nabc\r\n"),
    "trailer": (b"3\r\nabc\r\n", b"0\r\nA b: c\r\n\r\n"),
    "obsolete fold": (b"3\r\nabc\r\n", b"0\r\nA: b\r\n c\r\n\r\n"),
}


@both_paths
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_body_is_never_whole(
    case: str, method: str, fast_path: bool, tmp_path: Path
) -> None:
    """Refused, however much of it is at the server; and what is behind it is nobody's request."""
    good, bad = MALFORMED[case]
    async with (
        open_backend(tell_body) as backend,
        logging_balancer(backend, fast_path, tmp_path / "log") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(post_chunks(method=method, end=good))
        await eventually(lambda: backend.requests and backend.requests[0].body == b"abc")
        await client.send(bad + get("/2"))
        response = await client.read_response()
        assert response.status == 400
        assert response.header("connection") == "close"
        await client.finish()
        assert (await client.read_until_close())[0] == b""
        await eventually(lambda: not backend.open_connections)
        assert [request.complete for request in backend.requests] == [False]
        statistics = balancer.statistics()
        assert statistics.responses_by_class["4xx"] == statistics.requests_total == 1
        assert (statistics.total_active, statistics.servers[0].failed) == (0, 0)
    (entry,) = entries(tmp_path / "log")
    assert entry["bytes_received"] == 3
    assert [attempt["outcome"] for attempt in entry["attempts"]] == [entry["reason"]]
    assert entry["ended"] == "refused"


def logging_balancer(backend: Backend, fast_path: bool, path: Path, **settings: Any) -> Any:
    """A balancer with an access log."""
    return open_balancer(
        backend.url,
        health_check="off",
        fast_path=fast_path,
        access_log=str(path),
        access_log_format="json",
        **settings,
    )


def entries(path: Path) -> list[dict[str, Any]]:
    """Of an access log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@both_paths
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_that_turns_out_too_large(
    method: str, fast_path: bool, tmp_path: Path
) -> None:
    """What counts is its payload, and the server gets no more than may be."""
    fits = post_chunks(*[b"x"] * 100, method=method)
    async with (
        open_backend(tell_body) as backend,
        logging_balancer(backend, fast_path, tmp_path / "log", limits={"body": 100}) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for size in (1, 7):
            for at in range(0, len(fits), size * 100):
                await client.send(fits[at : at + size * 100])
                await all_at_rest()
            assert (await client.read_response()).body == b"x" * 100
        await client.send(fits[:-5])
        await all_at_rest()
        await client.send(b"1\r\nx\r\n0\r\n\r\n")
        assert (await client.read_response()).status == 413
        await client.finish()
        await client.read_until_close()
        await eventually(lambda: not backend.open_connections)
        assert [request.complete for request in backend.requests] == [True, True, False]
        assert backend.requests[2].body_size <= 100
    assert [entry["bytes_received"] for entry in entries(tmp_path / "log")] == [100, 100, 101]


@pytest.mark.parametrize(("method", "kept"), [("POST", 0), ("PUT", 1)])
async def test_a_body_that_pauses_holds_only_what_may_be_sent_again(
    method: str, kept: int, on_slow_path: list[bytes]
) -> None:
    """The head; and a small body of a method that may be repeated."""
    async with (
        open_backend(tell_body_in_whole) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        plain = balancer._service._plain
        assert plain is not None
        fast_path = plain.fast_path
        await client.send(post_chunks(b"abc", method=method, end=b""))
        await eventually(lambda: backend.requests and backend.requests[0].body_size == 3)
        await all_at_rest()
        assert fast_path.borrowed == 1 + kept
        await client.send(scripts.chunk(DATA[:100_000]))
        await eventually(lambda: backend.requests[0].body_size == 100_003)
        await all_at_rest()
        assert fast_path.borrowed == 1
        await client.send(b"0\r\n\r\n")
        assert (await client.read_response()).body == b"abc" + DATA[:100_000]
        await eventually(lambda: fast_path.borrowed == 0)
        assert not on_slow_path


@both_paths
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_small_body_may_go_to_another_server(fast_path: bool, pieces: int) -> None:
    """Where its method may be repeated: all of it, also where it came in pieces."""
    data = post_chunks(b"abc", b"defgh", method="PUT")
    async with (
        open_backend(scripts.raw(b"", reset=True)) as first,
        open_backend(tell_body) as second,
        open_balancer(
            first.url, second.url, health_check="off", fast_path=fast_path, algorithm="rr"
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for at in range(pieces):
            await client.send(data[at * len(data) // pieces : (at + 1) * len(data) // pieces])
            await all_at_rest()
        assert (await client.read_response()).body == b"abcdefgh"
        assert [len(first.requests), len(second.requests)] == [1, 1]
        assert [server.failed for server in balancer.statistics().servers] == [1, 0]
