"""The reference parser reads what is correct to the letter, and nothing else."""

from __future__ import annotations

import pytest

from tests.support.strict_http import (
    MalformedError,
    read_request,
    read_requests,
    read_response,
)

GET = b"GET /a?b HTTP/1.1\r\nHost: a:80\r\nX: \r\nX: 1 \t2\xe9\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n"


def test_a_request_in_its_parts() -> None:
    request = read_request(GET)
    assert request is not None
    assert (request.method, request.target, request.host) == ("GET", "/a?b", "a:80")
    assert (request.header("X"), request.body, request.raw) == (", 1 \t2\xe9", b"", GET)


def test_chunks_and_trailers() -> None:
    request = read_request(CHUNKED + BODY + b"T: 1\r\n\r\n")
    assert request is not None
    assert (request.body, request.trailers) == (b"0123456789x", (("t", "1"),))


def test_requests_behind_each_other_and_the_part_of_one() -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
    requests, rest = read_requests(GET + post + CHUNKED + BODY + b"\r\n" + GET[:9])
    assert [request.body for request in requests] == [b"", b"ok", b"0123456789x"]
    assert rest == GET[:9]


@pytest.mark.parametrize("whole", [GET, CHUNKED + BODY + b"\r\n", CHUNKED + BODY + b"T: 1\r\n\r\n"])
def test_every_beginning_of_a_request_is_incomplete_and_not_malformed(whole: bytes) -> None:
    assert {read_request(whole[:size]) for size in range(len(whole))} == {None}
    assert read_request(whole) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::zz]\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:  a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nb: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"05\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;a\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\n\r0\r\n\r\n",
        CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
        CHUNKED + b"00\r\n\r\n",
        CHUNKED + b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_everything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(data)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "method", "closed", "expected"),
    [
        (OK + b"Content-Length: 2\r\n\r\nok!", "GET", False, (200, b"ok", False)),
        (OK + b"Content-Length: 2\r\n\r\no", "GET", False, None),
        (OK + b"Content-Length: 2\r\n\r\no", "GET", True, (200, b"o", True)),
        (OK + b"Content-Length: 2\r\n\r\n", "HEAD", False, (200, b"", False)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "GET", False, None),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "GET", True, (200, b"ok", True)),
        (OK + b"\r\nok", "GET", False, None),
        (OK + b"\r\nok", "GET", True, (200, b"ok", False)),
        (b"HTTP/1.1 304 \r\nContent-Length: 2\r\n\r\n", "GET", False, (304, b"", False)),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, "GET", False, (103, b"", False)),
    ],
)
def test_responses(
    data: bytes, method: str, closed: bool, expected: tuple[int, bytes, bool] | None
) -> None:
    response = read_response(data, method, closed=closed)
    found = None if response is None else (response.status, response.body, response.cut)
    assert found == expected


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a",
    ],
)
def test_malformed_responses(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_response(data, "GET", closed=True)
