"""The head codec of the fast path: what a parsed head is.

`_parser` reads heads (and `_fields` their field lines), `_writer` writes them, and this is what
they share. A parsed head is spans of the bytes it was parsed from, offsets from their first one.
They must still be there, at any address, when it is written or made into Python objects.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    MAX_FIELDS = 64             # of a plain head
    MAX_HEAD = 65535            # bytes of a plain head: what a Span can address
    SCHEME = 7                  # bytes of `http://`

cdef enum FieldKind:
    END_TO_END                  # goes on as it came
    HOST
    CONTENT_LENGTH
    TRANSFER_ENCODING
    CONNECTION
    KEEP_ALIVE                  # that, or Proxy-Connection, which curl sends to a proxy; left out
    VIA
    REQUEST_ID
    IDENTITY                    # a claim that only a trusted proxy may make; left out
    DATE                        # likewise
    AUTHENTICATION              # END_TO_END; SLOW_ONLY if it speaks of the whole connection
    # Of responses, these three are left out.
    UPGRADE                     # of requests: only offers of what no tunnel may carry are plain
    HTTP2_SETTINGS              # goes with such an offer; left out
    TE                          # of requests: `trailers`, or it is not plain
    SLOW_ONLY                   # never in a parsed head

cdef struct Span:
    uint16_t start
    uint16_t length

cdef struct Field:
    Span name
    Span value                  # without white space around it
    uint8_t kind                # FieldKind
    uint8_t canonical           # its line is `name: value` and CRLF, exactly

cdef struct ParsedRequest:       # always with a valid Host
    uint32_t length             # bytes of the head, with the empty line; behind it is the body
    uint16_t count              # of fields
    uint8_t chunked
    uint8_t close               # the client wants no other request on this connection
    uint8_t idempotent
    uint8_t http10              # HTTP/1.0, not 1.1; then `close`, too
    uint8_t head_only           # HEAD: the response will have no body
    uint8_t wants_trailers      # TE: trailers
    uint8_t claims              # there is an IDENTITY
    int64_t content_length      # below 10 ** 18; -1: none was said
    Span method
    Span target                 # in origin form
    Span authority              # of an absolute target, the same as `host`; empty without one
    Span host
    Span via                    # of earlier proxies; empty if there were none
    Span request_id             # the client's own; empty if it sent none
    Field fields[MAX_FIELDS]    # [count], in their order

cdef struct ParsedResponse:
    uint32_t length
    uint16_t count
    uint16_t status             # 100 .. 599
    uint8_t chunked             # its body is, or goes on so; never with `bodiless`
    uint8_t http10              # HTTP/1.0, not 1.1; then `close`, too
    uint8_t close               # this connection to the server takes no other request
    uint8_t bodiless            # to HEAD, or 1xx, 204, 304: none follows, whatever the fields say
    uint8_t until_close         # the end of the connection is that of the body; then `close`, too
    uint8_t dated               # it has a Date
    int64_t content_length      # as the field says; -1: none was said
    Span reason
    Span via
    Field fields[MAX_FIELDS]


cdef inline Span target_as_sent(const ParsedRequest *head) noexcept nogil:
    cdef Span target = head.target
    if head.authority.length:
        target.start -= SCHEME + head.authority.length
        target.length += SCHEME + head.authority.length
    return target


cdef inline bytes span_bytes(const char *data, Span part):
    return (data + part.start)[:part.length]
