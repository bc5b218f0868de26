"""Body framing: where the bodies end that the fast path relays as they come.

What is good, what is odd and what is broken, and why, is in `framing.pxd`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t, uint32_t, uint64_t

FRAMED_MORE = <int> BODY_MORE
FRAMED_END = <int> BODY_END
FRAMED_ODD = <int> BODY_ODD
FRAMED_BROKEN = <int> BODY_BROKEN


cdef void begin_body(Body *body, int64_t content_length, bint chunked) noexcept nogil:
    body.chunked = chunked
    body.trailers = False
    body.stage = IN_SIZE
    body.payload = 0
    body.remaining = 0
    body.state = BODY_MORE
    if not chunked:
        if content_length > 0:
            body.remaining = <uint64_t> content_length
        else:
            body.state = BODY_END


cdef void begin_body_until_close(Body *body) noexcept nogil:
    begin_body(body, 0, False)
    body.remaining = <uint64_t> -1
    body.state = BODY_MORE


cdef void end_body(Body *body) noexcept nogil:
    body.remaining = 0
    body.state = BODY_END


cdef BodyState feed_body(
    Body *body, const char *data, size_t length, size_t *good
) noexcept nogil:
    cdef const char *p = data
    cdef const char *end = data + length
    if body.state == BODY_MORE:
        if body.chunked:
            body.state = feed_chunks(body, &p, end, NULL)
        else:
            p = feed_data(body, p, end)
            if not body.remaining:
                body.state = BODY_END
    good[0] = p - data
    return <BodyState> body.state


cdef void pass_by(Body *body, uint64_t length) noexcept nogil:
    body.remaining -= length
    body.payload += length
    if not body.remaining:
        body.state = BODY_END


cdef const char *feed_data(Body *body, const char *p, const char *end) noexcept nogil:
    """Count data of the body or of one chunk; returns its end."""
    cdef uint64_t here = min(<uint64_t> (end - p), body.remaining)
    body.remaining -= here
    body.payload += here
    return p + here


cdef BodyState feed_chunks(
    Body *body, const char **good, const char *end, char **out
) noexcept nogil:
    """Move `good` on over all that is well-formed and complete.

    Unless `out` is NULL the data in it is copied there, and `out[0]` moved on behind it.
    """
    cdef BodyState state
    cdef const char *data
    while True:
        if body.stage == IN_SIZE:
            state = feed_size(body, good, end)
            if body.stage == IN_SIZE:
                return state
        if body.stage == IN_DATA:
            data = good[0]
            good[0] = feed_data(body, data, end)
            if out is not NULL:
                out[0] = put(out[0], data, <size_t> (good[0] - data))
            if body.remaining:
                return BODY_MORE
            body.stage = BEHIND_DATA
        state = at_line_end(good[0], end, BODY_BROKEN)
        if state != BODY_END:
            return state
        good[0] += 2
        body.stage = IN_SIZE


cdef BodyState feed_size(Body *body, const char **good, const char *end) noexcept nogil:
    """The line in front of a chunk's data; if it is the last chunk's, the empty line behind it too.

    A complete size leads to the next stage, the last chunk's to BODY_END.
    """
    cdef const char *p = good[0]
    cdef uint64_t size = 0
    cdef int digit
    cdef BodyState state
    while p < end:
        digit = hex_digit(p[0])
        if digit < 0:
            break
        if p - good[0] == MAX_CHUNK_DIGITS:
            return BODY_ODD
        if p > good[0] and not size:
            return BODY_ODD     # a zero in front of other digits
        size = size << 4 | <uint64_t> digit
        p += 1
    if p == good[0] and p < end:
        return BODY_ODD
    state = at_line_end(p, end, BODY_ODD)
    if state != BODY_END:
        return state
    p += 2
    if size:
        body.remaining = size
        body.stage = IN_DATA
    else:
        state = at_line_end(p, end, BODY_ODD)
        if state == BODY_END:
            p += 2
        elif state == BODY_ODD and body.trailers:
            state = feed_trailers(&p, end)
        if state != BODY_END:
            return state
    good[0] = p
    return state


cdef BodyState feed_trailers(const char **at, const char *end) noexcept nogil:
    """Trailers, and the empty line behind them. Plain are those that go on as they came."""
    cdef const char *data = at[0]
    cdef const char *stop = data + min(<size_t> (end - data), <size_t> MAX_TRAILERS)
    cdef Field[MAX_FIELDS] fields
    cdef Found found
    cdef uint16_t count, place
    cdef Progress progress = parse_fields(data, at, stop, MAX_FIELDS, fields, &count, &found)
    if progress == RAN_OUT:
        return BODY_MORE if stop == end else BODY_ODD
    if progress == ODD or found.kinds & ~<uint32_t> (1 << DATE):
        return BODY_ODD
    for place in range(count):
        if not fields[place].canonical:
            return BODY_ODD
    return BODY_END


cdef BodyState at_line_end(const char *p, const char *end, BodyState otherwise) noexcept nogil:
    """BODY_END if CRLF is at `p`, BODY_MORE if it can still come, else `otherwise`."""
    if p == end:
        return BODY_MORE
    if p[0] != c"\r":
        return otherwise
    if p + 1 == end:
        return BODY_MORE
    return BODY_END if p[1] == c"\n" else otherwise


cdef inline int hex_digit(char byte) noexcept nogil:
    """The value of a hexadecimal digit, -1 for any other byte."""
    if c"0" <= byte <= c"9":
        return byte - c"0"
    byte |= 0x20
    if c"a" <= byte <= c"f":
        return byte - c"a" + 10
    return -1


@cython.final
@cython.auto_pickle(False)
cdef class ChunkReader:
    """The data of a chunked body, for the slow path."""
    cdef Body body
    cdef size_t good

    def __cinit__(self):
        begin_body(&self.body, -1, True)

    def read(self, bytes data not None):
        """What data there is in the good bytes that `data` begins with.

        `data` begins with what wasn't good the last time. Look at `state` and `used` afterwards.
        """
        cdef Body ahead = self.body
        cdef const char *begin = PyBytes_AS_STRING(data)
        cdef const char *end = begin + len(data)
        cdef const char *p = begin
        if ahead.state == BODY_MORE:
            feed_chunks(&ahead, &p, end, NULL)
        cdef bytes result = PyBytes_FromStringAndSize(
            NULL, <Py_ssize_t> (ahead.payload - self.body.payload))
        cdef char *out = PyBytes_AS_STRING(result)
        p = begin
        if self.body.state == BODY_MORE:
            self.body.state = feed_chunks(&self.body, &p, end, &out)
        self.good = <size_t> (p - begin)
        return result

    def go_on_in_chunk(self, uint64_t left):
        """Somebody else has read up to `left` bytes of a chunk, which is read on from there."""
        self.body.stage = IN_DATA if left else BEHIND_DATA
        self.body.remaining = left
        self.body.state = BODY_MORE

    @property
    def used(self):
        """How many of the bytes that were read last were good."""
        return self.good

    @property
    def state(self):
        """MORE, END, ODD or BROKEN."""
        return self.body.state


@cython.final
@cython.auto_pickle(False)
cdef class BodyFraming:
    """The framing of one body, for callers in Python.

    Args:
        content_length: bytes; None if the head did not say.
        chunked: the body is chunked.
        trailers: it may have some.
    """
    cdef Body body

    def __cinit__(self, content_length=None, bint chunked=False, bint trailers=False):
        begin_body(&self.body, -1 if content_length is None else content_length, chunked)
        self.body.trailers = trailers

    def feed(self, bytes data not None):
        """How many leading bytes of `data` are good.

        `data` begins with what wasn't good the last time. Look at `state` afterwards.
        """
        cdef size_t good = 0
        feed_body(&self.body, <const char *> data, <size_t> len(data), &good)
        return good

    @property
    def state(self):
        """MORE, END, ODD or BROKEN."""
        return self.body.state

    @property
    def payload(self):
        """Bytes of the body that were good so far, without the framing."""
        return self.body.payload

    @property
    def remaining(self):
        """Bytes to come of the body, or if it is chunked of the chunk that is under way."""
        return self.body.remaining
