"""What is refused because it may climb above where it begins; the model reads like any server."""

from __future__ import annotations

import re
from itertools import chain, combinations, product
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_lb.errors import ClientError
from trio_lb.fast.http1 import read_request
from trio_lb.http.admission import admit
from trio_lb.http.climbing import climbs
from trio_lb.http.forwarding import request_target
from trio_lb.http.framing import NO_BODY
from trio_lb.http.heads import RequestHead

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = b"/public/files"
ESCAPED_SEPARATORS = (b"%2F", b"%5C", b"\\")

CLIMBING = [
    b"/..",
    b"/../admin",
    b"/a/../../admin",
    b"/%2e%2e/admin",
    b"/.%2E/admin",
    b"/%2e./admin",
    b"/..%2fadmin",
    b"/..%5Cadmin",
    b"/..\\admin",
    b"/\\../admin",
    b"/..;/admin",
    b"/..;a=b/admin",
    b"/%2e%2e%3bx/admin",
    b"/a%2f../../admin",
    b"//../admin",
    b"/./../admin",
    b"/;x/../admin",
    b"/%252e%252e/admin",
    b"/%2%65%2%65/admin",
    b"/%%32%65./admin",
    b"/..?a",
    b"/..%00/admin",
    b"/..%3fa/admin",
    b"/..%23/admin",
]
HARMLESS = [
    b"/",
    b"*",
    b"//a//b/",
    b"/.",
    b"/a/..",
    b"/a/%2e%2e/b",
    b"/a/b/../../c",
    b"/...",
    b"/..a/a..",
    b"/.well-known/x",
    b"/%2e",
    b"/a?/../../..",
    b"/?..%2f..",
    b"/a%2fb;c\\d/%20",
    b"/%",
    b"/%25",
]


@pytest.mark.parametrize("target", CLIMBING)
def test_what_climbs(target: bytes) -> None:
    assert climbs(target)


@pytest.mark.parametrize("target", HARMLESS)
def test_what_does_not(target: bytes) -> None:
    assert not climbs(target)


@pytest.mark.parametrize("target", [*CLIMBING, b"http://example.org/../admin"])
def test_it_is_refused_where_servers_are_below_a_path_and_there_alone(target: bytes) -> None:
    head = RequestHead(b"GET", target, b"1.1", [(b"Host", b"host", b"example.org")], NO_BODY)
    assert target.endswith(admit(head).target)
    with pytest.raises(ClientError) as caught:
        admit(head, confined=True)
    assert caught.value.status == 400


def readings(path: bytes) -> Iterator[list[bytes]]:
    """The segments of a path, as servers may read them before they resolve dot segments."""
    subsets = chain.from_iterable(combinations(ESCAPED_SEPARATORS, n) for n in range(4))
    for separators, decodings, parameters, merges, cuts in product(
        list(subsets), range(3), ("kept", "raw", "decoded"), (False, True), (False, True)
    ):
        read = re.sub(rb";[^/]*", b"", path) if parameters == "raw" else path
        segments = read.split(b"/")[1:]
        for _ in range(1 + decodings):
            for separator in separators:
                segments = [
                    piece
                    for segment in segments
                    for piece in re.split(re.escape(separator), segment, flags=re.IGNORECASE)
                ]
            if decodings:
                segments = [unquote_to_bytes(segment) for segment in segments]
        if parameters == "decoded":
            segments = [segment.partition(b";")[0] for segment in segments]
        if cuts:
            segments = re.split(rb"[\0?#]", b"/".join(segments))[0].split(b"/")
        yield [segment for segment in segments if segment] if merges else segments


def resolved(segments: list[bytes]) -> list[bytes]:
    """Without dot segments: RFC 3986 section 5.2.4."""
    out: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del out[-1:]
        elif segment != b".":
            out.append(segment)
    return out


PIECES = st.sampled_from(b"/ / / .. .. . a %2e %2E %2f %2F %5c \\ ; %3b %25 2e % ? %3f".split())
TARGETS = st.lists(PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces))


@pytest.mark.parametrize("target", CLIMBING)
def test_each_of_them_climbs_to_some_reading(target: bytes) -> None:
    path = request_target(target, PREFIX).partition(b"?")[0]
    assert any(resolved(segments)[:2] != [b"public", b"files"] for segments in readings(path))


@given(TARGETS)
@example(b"/a%2f../../b")
@example(b"/%2f../..")
@example(b"/a;%2f../..")
def test_no_reading_of_what_goes_on_leaves_the_servers_path(target: bytes) -> None:
    if climbs(target):
        return
    path = request_target(target, PREFIX).partition(b"?")[0]
    for segments in readings(path):
        assert resolved(segments)[:2] == [b"public", b"files"], segments


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"b.c", b"...", b"%41"]), max_size=8))
def test_of_plain_segments_only_what_really_climbs_is_refused(segments: list[bytes]) -> None:
    depth, climbed = 0, False
    for segment in segments:
        depth += {b"..": -1, b".": 0}.get(segment, 1)
        climbed = climbed or depth < 0
    assert climbs(b"/" + b"/".join(segments)) == climbed


def plain(data: bytes, *, confined: bool) -> bool:
    request = read_request(
        data, head_limit=16384, target_limit=8192, field_limit=100, confined=confined
    )
    return bool(request)


@given(TARGETS)
def test_the_compiled_parser_leaves_every_climb_to_the_slow_path(target: bytes) -> None:
    data = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target
    assert plain(data, confined=False)
    if plain(data, confined=True):
        assert not climbs(target)


@pytest.mark.parametrize("target", [b"/", b"/a/b.c?../..", b"/.a/%20;x\\y", b"/a%2fb"])
def test_what_is_ordinary_stays_plain_below_a_path(target: bytes) -> None:
    data = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target
    assert plain(data, confined=True)
