"""Reading heads on the fast path: C-level interface.

A parser looks at bytes that the caller holds and gives one of three verdicts. It has no errors of
its own: whatever is malformed, rare, or only spelled in an unusual way is FALLBACK, and the
slow path, which reads the same bytes from their beginning, finds the words for it. So there is
one rule to keep, one way only: what is called HEAD here is accepted there and read the same
(tests/oracle/test_wire_requests.py, test_wire_responses.py).

Nothing here allocates, keeps a pointer, or touches a Python object, unless its comment says so.
"""

from libc.stdint cimport int64_t, uint32_t


cdef enum Verdict:
    NEED_MORE                   # what has come is the beginning of a plain head
    HEAD
    FALLBACK

cdef struct HeadLimits:
    uint32_t head               # bytes
    uint32_t target             # bytes
    uint32_t fields

cdef struct RouteLimits:        # what can only be looked at when the route is known
    int64_t body                # bytes that Content-Length may say; -1: any
    bint confined               # a target must not climb above its first slash


# Parse the head at the beginning of data[:length]; what is behind it doesn't matter. `seen` is the
# `length` of the last call that answered NEED_MORE about this head, or 0: a head is looked at again
# only when another line is complete, so that one which comes byte by byte costs no square of them.
# The head is filled in only with HEAD. Over a limit is FALLBACK.

cdef Verdict parse_request(
    const char *data, size_t length, size_t seen, const HeadLimits *limits,
    ParsedRequest *head) noexcept nogil

# The target might climb above its first slash.
cdef bint may_climb(const char *data, const ParsedRequest *head) noexcept nogil

# `to_head`: the response answers a HEAD request. 1xx ones are `bodiless`; a 101 is FALLBACK.
cdef Verdict parse_response(
    const char *data, size_t length, size_t seen, bint to_head,
    ParsedResponse *head) noexcept nogil

# The parts as Python objects, for whoever asks: the arguments of trio_lb.http.heads.RequestHead
# (method, target, version, fields) and ResponseHead (status, reason, version, fields).
cdef list field_list(const char *data, const Field *fields, uint16_t count)
cdef tuple request_parts(const char *data, const ParsedRequest *head)
cdef tuple response_parts(const char *data, const ParsedResponse *head)


cdef inline bint fits_route(
        const char *data, const ParsedRequest *head, const RouteLimits *limits) noexcept nogil:
    """What is over a limit of its route is the slow path's."""
    return (limits.body < 0 or head.content_length <= limits.body) and not (
        limits.confined and may_climb(data, head))
