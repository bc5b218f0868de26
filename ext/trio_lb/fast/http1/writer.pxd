"""Writing heads on the fast path: C-level interface.

A head is written anew from its parts, byte for byte as the slow path would write it. Field lines
that already look as they will be written are copied in runs.

Nothing here allocates, keeps a pointer, or touches a Python object, except ClientLines.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr


cdef enum:
    MAX_PIECES = 4              # of ClientLines
    DATE_LINE = 37              # bytes of a Date field with its line end

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
    cdef Slice quoting[MAX_PIECES]  # the same number, for a Host that Forwarded quotes
    cdef uint32_t count


# Write a head to out[:room], from the `data` that it was parsed from. Returns its length, or 0,
# with nothing written, if `room` is less than `request_room` or `response_room` says (a bound that
# is quick to tell, at most a few dozen bytes above the length).

cdef size_t request_room(
    const ParsedRequest *head, const RequestAdditions *additions) noexcept nogil
cdef size_t write_request(
    char *out, size_t room, const char *data, const ParsedRequest *head,
    const RequestAdditions *additions) noexcept nogil

# `date`: a line for a response that has none; NULL: it gets none.
# `close`: the client is told that this was its connection's last response. Whoever calls has to
# say so where the request had `close`.
cdef size_t response_room(const ParsedResponse *head) noexcept nogil
cdef size_t write_response(
    char *out, size_t room, const char *data, const ParsedResponse *head,
    const char *date, bint close) noexcept nogil

# The additions that a client's lines are, for the Host of this head.
cdef inline void add_client_lines(
    RequestAdditions *additions, ClientLines lines, const char *data, const ParsedRequest *head
) noexcept:
    # A plain Host is letters, digits and `-._~`, which tokens may have, and perhaps a port; so
    # nothing in it needs an escape, and only the colon needs quotes.
    if memchr(data + head.host.start, c":", head.host.length) is NULL:
        additions.pieces = lines.pieces
    else:
        additions.pieces = lines.quoting
    additions.piece_count = lines.count

# Such a line (RFC 9110 section 5.6.7), for a second since the beginning of 1970.
cdef void write_date(char *out, int64_t second) noexcept nogil


cdef inline Slice slice_of(bytes data) noexcept:
    """Borrowed: `data` has to outlive it."""
    return Slice(PyBytes_AS_STRING(data), <size_t> len(data))
