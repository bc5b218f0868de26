"""Any sequence of ordinary and odd requests, cut anywhere, over one connection: both paths agree.

What the server answers is in the target of a request, so that it is drawn as well.
"""

from __future__ import annotations

import re
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.fast_path.test_same_outcomes import CHUNKED, EXTENSION, Case, outcome
from tests.support import scripts
from tests.support.client import End
from tests.support.effort import effort
from tests.support.rig import get, post, post_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.backend import Exchange, Script


def sent(data: bytes) -> Script:
    """An answer as it stands, after which the connection is kept."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(data)

    return script


#: What a server may answer with, by the last part of a target.
ANSWERS: dict[str, Script] = {
    "ok": scripts.answer(b"ok"),
    "nothing": scripts.answer(b""),
    "large": scripts.answer(b"0123456789abcdef" * 8192),
    "error": scripts.answer(b"no", 500, [("X-A", "b"), ("Set-Cookie", "c")]),
    "204": sent(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": sent(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    "closing": scripts.closing(),
    "chunked": scripts.chunked([b"a", b"bc" * 5000, b"d" * 70_000]),
    "no-chunks": scripts.chunked([]),
    "trailers": scripts.chunked([b"abc"], [("X-End", "1")]),
    "extension": sent(EXTENSION),
    "hints": scripts.informational(103, [("Link", "x")], scripts.answer(b"ok")),
    "until-close": scripts.until_close(b"body"),
    "old": scripts.until_close(b"body", "1.0"),
    "garbage": scripts.garbage_head(),
    "cut": scripts.cut_body(b"a" * 10, 20, reset=False),
    "cut-chunk": scripts.raw(CHUNKED + b"9\r\nabc", reset=False),
}

#: Those that send no body to HEAD.
TO_HEAD = ("ok", "nothing", "large", "error", "204", "304")

#: What may be added to a request; most leave it what it is.
LINES = [
    (),
    ("Accept: */*", "X-Twice: 1", "x-twice:  2 "),
    ("X-Forwarded-For: 1.2.3.4", "Forwarded: for=x"),
    ("TE: trailers", "Connection: TE"),
    ("TE: gzip",),
    ("Connection: keep-alive, X-Hop", "X-Hop: 1"),
    ("Connection: close",),
    ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAA", "Upgrade: h2c"),
    ("Connection: Upgrade", "Upgrade: websocket"),
    ("Expect: 100-continue",),
    ("Via: 1.0 fred",),
]

#: After these a connection ends.
MALFORMED = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    ]
).map(lambda data: (data, "GET"))


async def by_target(exchange: Exchange) -> None:
    await ANSWERS[exchange.request.target.rpartition("/")[2]](exchange)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str]:
    """A request, and its method."""
    target = "/" + draw(st.sampled_from(list(ANSWERS)))
    lines = draw(st.sampled_from(LINES))
    kind = draw(st.sampled_from(["bare", "bare", "absolute", "old", "length", "chunks"]))
    if kind == "length":
        body = b"x" * draw(st.sampled_from([0, 10, 3000, 70_000]))
        return post(body, *lines, target=target), "POST"
    if kind == "chunks":
        chunks = [b"y" * size for size in draw(st.lists(st.integers(1, 20_000), max_size=3))]
        end = draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nX-End: 1\r\n\r\n", b"0;a=b\r\n\r\n"]))
        return post_chunks(*chunks, target=target, method="PUT", end=end), "PUT"
    method = draw(st.sampled_from(["GET", "GET", "DELETE", *["HEAD"] * (target[1:] in TO_HEAD)]))
    if kind == "absolute":
        target = "http://example.org" + target
    return get(target, *lines, method=method, version="1.0" if kind == "old" else "1.1"), method


@st.composite
def conversations(draw: st.DrawFn) -> Case:
    """Requests in a row, and where what the client sends is cut."""
    sequence = list(takewhile(_goes_on, draw(st.lists(requests(), min_size=1, max_size=6))))
    last = draw(requests().filter(lambda drawn: not _goes_on(drawn)) | MALFORMED)
    sequence.append(last)
    data = b"".join(request for request, _ in sequence)
    places = draw(st.sets(st.integers(1, len(data) - 1), max_size=8))
    pieces = list(_cut(data, sorted(places)))
    return Case("any", [(pieces, [method for _, method in sequence])], [by_target])


def _goes_on(request: tuple[bytes, str]) -> bool:
    """Whether the connection is kept: a client that says otherwise sends no more."""
    return not re.search(rb"Connection: close| HTTP/1\.0", request[0])


def _cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    for start, end in pairwise((0, *places, len(data))):
        yield data[start:end]


# What the fixtures of this folder check holds for all examples together.
@effort(100, suppress_health_check=list(HealthCheck))
@given(conversations())
async def test_both_paths_agree_about_any_sequence(conversation: Case) -> None:
    with trio.fail_after(30):
        fast = await outcome(conversation, fast_path=True)
        slow = await outcome(conversation, fast_path=False)
    for each in (fast, slow):
        # Whether the end of a cut response is a FIN or a RST depends on what the client has sent
        # by then.
        each["responses"] = str(each["responses"]).replace(repr(End.RESET), repr(End.EOF))
    assert fast == slow
