"""What a server reads of a request is what was admitted: nothing can be read in two ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.wire import Whole, read_requests, split
from trio_lb.errors import AnsweredHere, ClientError
from trio_lb.http.admission import HOP_BY_HOP, IDENTITY, AdmittedRequest, admit
from trio_lb.http.forwarding import request_lines, trailer_lines
from trio_lb.http.heads import RequestHead
from trio_lb.http.identity import ClientIdentity
from trio_lb.http.proxy_protocol import ProxyHeader
from trio_lb.http1.h11_codec import H11ServerCodec

CLIENT = ClientIdentity("192.0.2.7", [(b"X-Real-IP", b"192.0.2.7")], ProxyHeader())
ADDED = {
    b"host", b"via", b"x-real-ip", b"x-request-id", b"content-length", b"transfer-encoding", b"te",
    b"connection", b"expect", b"upgrade",
}  # fmt: skip

NAMES = st.sampled_from(
    [
        b"X-A", b"x_b", b"Cookie", b"Content-Length", b"content_length", b"Transfer-Encoding",
        b"Connection", b"TE", b"Trailer", b"Upgrade", b"X-Forwarded-For", b"X_Forwarded_For",
        b"Forwarded", b"Proxy", b"Via", b"Max-Forwards", b"Expect", b"Accept", b"Keep-Alive",
        b"Host", b"X-Request-ID",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        b"a", b"", b"0", b"3", b"chunked", b"close", b"x-a, host, content-length", b"trailers",
        b"6.6.6.6", b"GET / HTTP/1.1", b"a\tb\xff", b"100-continue",
    ]
)  # fmt: skip
REQUESTS = st.builds(
    lambda method, target, version, lines, body: b"".join(
        [
            b"%b %b HTTP/%b\r\nHost: example.org\r\n" % (method, target, version),
            *(b"%b: %b\r\n" % line for line in lines),
            b"\r\n",
            body,
        ]
    ),
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"get"]),
    st.sampled_from([b"/", b"/a?b", b"*", b"http://other/x", b"//a", b"/%0d%0aX:y"]),
    st.sampled_from([b"1.1", b"1.0"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.sampled_from(
        [b"", b"abc", b"3;x\r\nabc\r\n0\r\n\r\n", b"0\r\nX-A: b\r\nHost: c\r\nX_Real_IP: d\r\n\r\n"]
    ),
)


def forwarded(request: AdmittedRequest, whole: Whole) -> bytes:
    """The bytes that a server gets of a request."""
    side = H11ServerCodec()
    lines = request_lines(request, CLIENT, b"id-1", b"127.0.0.1:3001")
    data = side.request(request.method, request.target, lines)
    if whole.body:
        data += side.body(whole.body)
    return data + side.end(trailer_lines(whole.trailers))


@effort(500)
@given(data=REQUESTS, lengths=st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_what_is_forwarded_is_read_as_the_same_request(data: bytes, lengths: list[int]) -> None:
    requests, _ = read_requests(split(data, lengths))
    for whole in requests:
        assert isinstance(whole.head, RequestHead)
        try:
            request = admit(whole.head)
        except (ClientError, AnsweredHere):
            return
        [again], _ = read_requests([forwarded(request, whole)])
        head = again.head
        assert isinstance(head, RequestHead)
        assert (head.method, head.target, head.version) == (request.method, request.target, b"1.1")
        assert again.body == whole.body
        assert [(name, value) for name, lower, value in head.fields if lower not in ADDED] == [
            (name, value) for name, value in request.lines if name.lower() not in ADDED
        ]
        names = [lower for _, lower, _ in head.fields]
        assert all(names.count(name) <= 1 for name in ADDED)
        for name, lower, value in head.fields:
            if lower.replace(b"_", b"-") in IDENTITY:
                assert [(name, value)] == CLIENT.lines
        assert not (HOP_BY_HOP & set(names)) - {
            b"transfer-encoding",
            b"te",
            b"connection",
            b"upgrade",
        }
        assert again.trailers in ([], [(b"X-A", b"b")])
        # What went through once goes through again, and is no other request then.
        assert admit(head).target == request.target
