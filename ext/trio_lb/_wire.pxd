"""The head codec of the plain road: C-level interface.

A parser looks at bytes that the caller holds and gives one of three verdicts. It has no errors of
its own: whatever is malformed, rare, or only spelled in an unusual way is NOT_PLAIN, and the
general road, which reads the same bytes from their beginning, finds the words for it. So there is
one rule to keep, one way only: what is called HEAD here is accepted there and read the same
(tests/oracle/test_wire_heads.py).

A parsed head is spans of the bytes it was parsed from, offsets from their first one. They must
still be there, at any address, when it is written or made into Python objects.

A head is written anew from its parts, byte for byte as the general road would write it. Field lines
that already look as they will be written are copied in runs.

Nothing here allocates, keeps a pointer, or touches a Python object, unless its comment says so.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    MAX_FIELDS = 64             # of a plain head
    MAX_HEAD = 65535            # bytes of a plain head: what a Span can address
    MAX_PIECES = 4              # of ClientLines

cdef enum Verdict:
    NEED_MORE                   # what has come is the beginning of a plain head
    HEAD
    NOT_PLAIN

cdef enum FieldKind:
    END_TO_END                  # goes on as it came
    HOST
    CONTENT_LENGTH
    TRANSFER_ENCODING
    CONNECTION
    KEEP_ALIVE
    VIA
    REQUEST_ID
    IDENTITY                    # a claim that only a proxy may make; left out
    UNPLAIN                     # never in a parsed head

cdef struct Span:
    uint16_t start
    uint16_t length

cdef struct Field:
    Span name
    Span value                  # without white space around it
    uint8_t kind                # FieldKind
    uint8_t canonical           # its line is `name: value` and CRLF, exactly

cdef struct HeadLimits:
    uint32_t head               # bytes
    uint32_t target             # bytes
    uint32_t fields
    int64_t body                # bytes that Content-Length may say; -1: any
    bint trusted                # the peer is a proxy whose claims count: IDENTITY is NOT_PLAIN

cdef struct PlainRequest:       # always HTTP/1.1; always with a valid Host
    uint32_t length             # bytes of the head, with the empty line; behind it is the body
    uint16_t count              # of fields
    uint8_t chunked
    uint8_t close               # the client wants no other request on this connection
    uint8_t idempotent
    uint8_t head_only           # HEAD: the response will have no body
    int64_t content_length      # below 10 ** 18; -1: none was said
    Span method
    Span target                 # in origin form
    Span host
    Span via                    # of earlier proxies; empty if there were none
    Span request_id             # the client's own; empty if it sent none
    Field fields[MAX_FIELDS]    # [count], in their order

cdef struct PlainResponse:      # always HTTP/1.1; always with a framing of its own
    uint32_t length
    uint16_t count
    uint16_t status             # 200 .. 599
    uint8_t chunked             # its body is; never with `bodiless`
    uint8_t close               # the server wants no other request on this connection
    uint8_t bodiless            # to HEAD, or 204, 304: no body follows, whatever the fields say
    int64_t content_length      # as the field says; -1: none was said
    Span reason
    Span via
    Field fields[MAX_FIELDS]

cdef struct Slice:              # bytes of somebody else
    const char *data
    size_t length

cdef struct RequestAdditions:   # what a request gets on its way; borrowed until it is written
    Slice prefix                # path of the server's URL, no slash at its end; mostly empty
    Slice request_id            # where the client sent none
    const Slice *pieces         # of ClientLines: lines with the Host value between every two
    uint32_t piece_count


cdef class ClientLines:
    """Lines that tell a server about a client; made once per connection, alive while in use."""
    cdef object held            # the pieces as bytes objects
    cdef Slice pieces[MAX_PIECES]
    cdef uint32_t count


# Parse the head at the beginning of data[:length]; what is behind it doesn't matter. `seen` is the
# `length` of the last call that answered NEED_MORE about this head, or 0: a head is looked at again
# only when another line is complete, so that one which comes byte by byte costs no square of them.
# The head is filled in only with HEAD. Over a limit is NOT_PLAIN.

cdef Verdict parse_request(
    const char *data, size_t length, size_t seen, const HeadLimits *limits,
    PlainRequest *head) noexcept nogil

# `to_head`: the response answers a HEAD request. 1xx, HTTP/1.0 and bodies that end with the
# connection are NOT_PLAIN.
cdef Verdict parse_response(
    const char *data, size_t length, size_t seen, bint to_head,
    PlainResponse *head) noexcept nogil

# Write a head to out[:room], from the `data` that it was parsed from. Returns its length, or 0,
# with nothing written, if `room` is less than `request_room` or `response_room` says (a bound that
# is quick to tell, at most a few dozen bytes above the length).

cdef size_t request_room(
    const PlainRequest *head, const RequestAdditions *additions) noexcept nogil
cdef size_t write_request(
    char *out, size_t room, const char *data, const PlainRequest *head,
    const RequestAdditions *additions) noexcept nogil

# `close`: the client is told that this was its connection's last response. Whoever calls has to
# say so where the request had `close`.
cdef size_t response_room(const PlainResponse *head) noexcept nogil
cdef size_t write_response(
    char *out, size_t room, const char *data, const PlainResponse *head,
    bint close) noexcept nogil

# The parts as Python objects, for whoever asks: the arguments of trio_lb.wire.heads.RequestHead
# (method, target, version, fields) and ResponseHead (status, reason, version, fields).
cdef tuple request_parts(const char *data, const PlainRequest *head)
cdef tuple response_parts(const char *data, const PlainResponse *head)


cdef inline bytes span_bytes(const char *data, Span part):
    return (data + part.start)[:part.length]


cdef inline Slice slice_of(bytes data) noexcept:
    """Borrowed: `data` has to outlive it."""
    return Slice(PyBytes_AS_STRING(data), <size_t> len(data))
