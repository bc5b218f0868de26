"""What a trusted proxy says about the client of a request; see claims.pxd.

What follows from its X-Forwarded-... and Forwarded fields is worked out in Python
(`trio_lb.http.identity`), once for each way in which they are said, and kept: the requests of one
client come with the same fields.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from trio_lb.fast.http1 cimport field_list, IDENTITY, ParsedRequest, Span
from trio_lb.fast.loop cimport Buffer, log_fault

cdef enum:
    MOST_CLAIMED = 4096         # clients that proxies have spoken of, and that are kept


cdef bint heed_claims(Exchange exchange) noexcept:
    try:
        exchange.origin = claimed_origin(exchange)
    except BaseException:
        log_fault("reading what a proxy says about its client")
        return False
    return True


cdef Origin claimed_origin(Exchange exchange):
    cdef Buffer *input = &exchange.client.input
    cdef const char *data = input.data + input.start
    cdef Origin proxy = exchange.client.origin
    cdef dict claimed = exchange.path.claimed
    cdef Origin origin
    key = proxy, claims_in(data, &exchange.head)
    origin = claimed.get(key)
    if origin is None:
        origin = proxy.heed(field_list(data, exchange.head.fields, exchange.head.count))
        if len(claimed) >= MOST_CLAIMED:
            claimed.clear()
        claimed[key] = origin
    return origin


cdef bytes claims_in(const char *data, const ParsedRequest *head):
    """The fields that are claims, in one piece: no two ways to say something look the same."""
    cdef size_t size = 0
    cdef char *out
    cdef int number
    for number in range(head.count):
        if head.fields[number].kind == IDENTITY:
            size += head.fields[number].name.length + head.fields[number].value.length + 2
    claims = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> size)
    out = PyBytes_AS_STRING(claims)
    for number in range(head.count):
        if head.fields[number].kind == IDENTITY:
            out = copy_span(out, data, head.fields[number].name, c":")
            out = copy_span(out, data, head.fields[number].value, c"\n")
    return claims


cdef inline char *copy_span(char *out, const char *data, Span part, char end) noexcept:
    memcpy(out, data + part.start, part.length)
    out[part.length] = end
    return out + part.length + 1
