"""Body framing of the fast path: C-level interface.

Bodies are relayed as they come; what is followed here is where they end. `feed_body` tells how many
leading bytes of what has come are *good*: they belong to the body, are plainly well-formed, and may
go on. The caller relays these and no others.

In a chunked body an incomplete line is not good yet, as it might turn out odd; it is held back by
the caller, at most MAX_HELD bytes (MAX_TRAILERS more where trailers may be), and given again in
front of what comes next. So what was relayed ends in or right behind a chunk's data, or at a
*boundary*: behind the CRLF of a complete chunk, in front of the next one's size. The last chunk is
good only together with the empty line behind it, and with the trailers between, where these may be
and go on as they came.

Thus everything out of the ordinary, be it legal (a chunk extension, another trailer, a size with
zeros before it, or of more digits than a recipient may have room for) or not, is found at a
boundary: BODY_ODD. Both sides of the exchange are in the middle of a chunked body there, between
two chunks, where the slow path can go on with data[good:] as the next line, or the exchange be cut.
Only a chunk whose data isn't followed by CRLF can't be gone on with: BODY_BROKEN.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    MAX_CHUNK_DIGITS = 7        # so that a size fits 31 bits, for whoever reads it next
    MAX_HELD = 8                # bytes: the digits of a size, and CR
    MAX_TRAILERS = 4096         # bytes of all together

cdef enum BodyState:
    BODY_MORE                   # the body goes on
    BODY_END                    # it is complete with the good bytes; what follows isn't its own
    BODY_ODD                    # chunked, at a boundary: what follows isn't plain
    BODY_BROKEN                 # chunked, behind a chunk's data: what follows isn't CRLF

cdef enum ChunkStage:           # the last chunk, which has no data, is only ever in the first one
    IN_SIZE
    IN_DATA
    BEHIND_DATA

cdef struct Body:
    # Bytes to come of the body (the most there can be, if it goes on until the connection ends),
    # or if chunked of this chunk's data.
    uint64_t remaining
    uint64_t payload            # good bytes so far, without the framing
    uint8_t chunked
    uint8_t trailers            # it may have some
    uint8_t stage               # ChunkStage
    uint8_t state               # BodyState: the answer of the last feed


# A body as its head framed it; no Content-Length (-1) and not chunked is an empty one, whose state
# is BODY_END at once.
cdef void begin_body(Body *body, int64_t content_length, bint chunked) noexcept nogil
# Whatever comes is the body's, until `end_body`.
cdef void begin_body_until_close(Body *body) noexcept nogil
cdef void end_body(Body *body) noexcept nogil

# Look at data[:length]: what was held back last time, and what has come since. Sets `*good`.
# Once the state is anything but BODY_MORE it stays, and nothing more is good.
cdef BodyState feed_body(
    Body *body, const char *data, size_t length, size_t *good) noexcept nogil

# Likewise `length` bytes that nobody looks at: not more than remain of a body that isn't chunked.
cdef void pass_by(Body *body, uint64_t length) noexcept nogil


cdef inline bint within_chunk(const Body *body) noexcept nogil:
    """A chunk's size was good, and the line end behind its data was not yet."""
    return body.chunked and body.stage != IN_SIZE
