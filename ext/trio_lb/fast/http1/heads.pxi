"""Plain heads for callers in Python: what the head codec reads and writes, as objects.

The fast path itself has no use for them; tests and tools do. What is plain is in `parser.pxi`,
what the parts of a head are in `parsed.pxd`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t


@cython.final
@cython.auto_pickle(False)
cdef class Request:
    """The head of a plain request, parsed, for callers in Python: `read_request` makes it."""
    cdef bytes data
    cdef ParsedRequest head

    @property
    def parts(self):
        """The arguments of trio_lb.http.heads.RequestHead."""
        return request_parts(self.data, &self.head)

    @property
    def length(self):
        """Bytes of the head; what comes behind it is the body."""
        return self.head.length

    @property
    def content_length(self):
        """Bytes of the body, or None if the head doesn't say."""
        return None if self.head.content_length < 0 else self.head.content_length

    @property
    def chunked(self):
        return bool(self.head.chunked)

    @property
    def close(self):
        """The client wants no other request on this connection."""
        return bool(self.head.close)

    @property
    def idempotent(self):
        return bool(self.head.idempotent)

    @property
    def wants_trailers(self):
        """Whether its client reads trailers."""
        return bool(self.head.wants_trailers)

    @property
    def head_only(self):
        """HEAD: its response has no body."""
        return bool(self.head.head_only)

    @property
    def host(self):
        return span_bytes(self.data, self.head.host)

    @property
    def request_id(self):
        """The client's own, or None."""
        return span_bytes(self.data, self.head.request_id) if self.head.request_id.length else None

    def write(self, ClientLines client not None, bytes request_id not None, bytes prefix not None):
        """The head as a server gets it.

        Args:
            client: what it is told about the client.
            request_id: for a request that came without.
            prefix: path of the server's URL, without a slash at its end.
        """
        cdef RequestAdditions additions
        additions.prefix = slice_of(prefix)
        additions.request_id = slice_of(request_id)
        add_client_lines(&additions, client, self.data, &self.head)
        cdef size_t room = request_room(&self.head, &additions)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> room)
        cdef size_t length = write_request(
            PyBytes_AS_STRING(out), room, self.data, &self.head, &additions)
        return out[:length]


@cython.final
@cython.auto_pickle(False)
cdef class Response:
    """The head of a plain response, parsed, for callers in Python: `read_response` makes it."""
    cdef bytes data
    cdef ParsedResponse head

    @property
    def parts(self):
        """The arguments of trio_lb.http.heads.ResponseHead."""
        return response_parts(self.data, &self.head)

    @property
    def length(self):
        """Bytes of the head; what comes behind it is the body."""
        return self.head.length

    @property
    def content_length(self):
        """What Content-Length says, or None."""
        return None if self.head.content_length < 0 else self.head.content_length

    @property
    def chunked(self):
        return bool(self.head.chunked)

    @property
    def bodiless(self):
        """No body follows, whatever the fields say."""
        return bool(self.head.bodiless)

    @property
    def until_close(self):
        """The end of the connection is that of the body."""
        return bool(self.head.until_close)

    @property
    def close(self):
        """This connection to the server takes no other request."""
        return bool(self.head.close)

    def write(self, bint close=False, date=None):
        """The head as a client of HTTP/1.1 gets it.

        Args:
            close: it is that of its connection's last response.
            date: seconds since the beginning of 1970, for one that has no Date; None: it gets none.
        """
        cdef ParsedResponse head = self.head
        cdef size_t room = response_room(&head)
        cdef char[DATE_LINE] line
        head.chunked = head.chunked or head.until_close
        if date is not None:
            write_date(line, date)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> room)
        cdef size_t length = write_response(
            PyBytes_AS_STRING(out), room, self.data, &head,
            NULL if date is None else line, close)
        return out[:length]


def read_request(
    bytes data not None, size_t seen=0, *, uint32_t head_limit, uint32_t target_limit,
    uint32_t field_limit, int64_t body_limit=-1, bint confined=False,
):
    """Parse the head at the beginning of `data`.

    Args:
        data: from the first byte of the request on.
        seen: how long `data` was the last time, if this head was incomplete.
        head_limit, target_limit: most bytes.
        field_limit: most field lines.
        body_limit: most bytes that Content-Length may say; -1 for any.
        confined: a target that might climb above its first slash is not plain.

    Returns:
        A Request; None if the head is incomplete; False if it is not plain.
    """
    cdef HeadLimits limits = HeadLimits(head_limit, target_limit, field_limit)
    cdef RouteLimits of_route = RouteLimits(body_limit, confined)
    cdef Request request = Request.__new__(Request)
    cdef Verdict verdict = parse_request(data, <size_t> len(data), seen, &limits, &request.head)
    if verdict == HEAD and not fits_route(data, &request.head, &of_route):
        verdict = FALLBACK
    request.data = data
    return request if verdict == HEAD else None if verdict == NEED_MORE else False


def read_response(bytes data not None, size_t seen=0, *, bint to_head=False):
    """Parse the head at the beginning of `data`.

    Args:
        data: from the first byte of the response on.
        seen: how long `data` was the last time, if this head was incomplete.
        to_head: it answers a HEAD request.

    Returns:
        A Response; None if the head is incomplete; False if it is not plain.
    """
    cdef Response response = Response.__new__(Response)
    cdef Verdict verdict = parse_response(data, <size_t> len(data), seen, to_head, &response.head)
    response.data = data
    return response if verdict == HEAD else None if verdict == NEED_MORE else False
