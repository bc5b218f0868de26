"""Writing heads on the fast path: for the other side, from a head that was parsed.

The C-level interface is in `writer.pxd`.
"""

cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t


cdef enum:
    ADDED = 192                 # bytes; more than all the words that a writer has of its own


@cython.final
@cython.auto_pickle(False)
cdef class ClientLines:
    """Lines that tell servers about a client.

    Args:
        pieces: whole lines, cut open where the value of Host comes (one to four pieces).
        quoting: as many, for a Host that is no token; None: the same ones.

    Raises:
        ValueError: too many pieces, or none; or not as many of both.
    """

    def __cinit__(self, *pieces, tuple quoting=None):
        if not 1 <= len(pieces) <= MAX_PIECES:
            raise ValueError(f"1 to {MAX_PIECES} pieces, not {len(pieces)}")
        if quoting is None:
            quoting = pieces
        elif len(quoting) != len(pieces):
            raise ValueError(f"{len(pieces)} pieces, but {len(quoting)} with quotes")
        self.held = pieces, quoting
        for piece, quoted in zip(pieces, quoting):
            self.pieces[self.count] = slice_of(piece)
            self.quoting[self.count] = slice_of(quoted)
            self.count += 1


cdef inline char *put_span(char *out, const char *data, Span part) noexcept nogil:
    return put(out, data + part.start, part.length)


cdef inline bint goes_on(const Field *field, uint32_t kinds) noexcept nogil:
    return (kinds >> field.kind & 1) != 0


cdef inline char *put_fields(
    char *out, const char *data, const Field *fields, uint16_t count, uint32_t kinds
) noexcept nogil:
    """The fields of these kinds. Canonical lines that follow each other are one piece of `data`."""
    cdef const Field *field = fields
    cdef const Field *end = fields + count
    cdef uint16_t start
    while field < end:
        if not goes_on(field, kinds):
            field += 1
        elif not field.canonical:
            out = put_span(out, data, field.name)
            out = put_text(out, b": ")
            out = put_span(out, data, field.value)
            out = put_text(out, b"\r\n")
            field += 1
        else:
            start = field.name.start
            while field + 1 < end and field[1].canonical and goes_on(field + 1, kinds):
                field += 1
            out = put(out, data + start, field.value.start + field.value.length + 2 - start)
            field += 1
    return out


cdef inline char *put_via(
    char *out, const char *data, Span earlier, bint http10
) noexcept nogil:
    out = put_text(out, b"Via: ")
    if earlier.length:
        out = put_span(out, data, earlier)
        out = put_text(out, b", ")
    put_text(out, b"1.1 trio-lb\r\n")
    if http10:
        out[2] = c"0"
    return out + 13


cdef size_t request_room(
    const ParsedRequest *head, const RequestAdditions *additions
) noexcept nogil:
    # Each line of the head may get a space that it didn't have; and the host is said again.
    cdef size_t room = ADDED + head.length + head.count
    cdef uint32_t piece
    room += additions.prefix.length + additions.request_id.length
    for piece in range(additions.piece_count):
        room += additions.pieces[piece].length + head.host.length
    return room


cdef size_t write_request(
    char *out, size_t room, const char *data, const ParsedRequest *head,
    const RequestAdditions *additions
) noexcept nogil:
    cdef char *begin = out
    cdef uint32_t piece
    if room < request_room(head, additions):
        return 0
    out = put_span(out, data, head.method)
    out = put_text(out, b" ")
    out = put(out, additions.prefix.data, additions.prefix.length)
    out = put_span(out, data, head.target)
    out = put_text(out, b" HTTP/1.1\r\nHost: ")
    out = put_span(out, data, head.host)
    out = put_text(out, b"\r\n")
    out = put_fields(out, data, head.fields, head.count, 1 << END_TO_END | 1 << DATE)
    if head.chunked:
        out = put_text(out, b"Transfer-Encoding: chunked\r\n")
    elif head.content_length >= 0:
        out = put_text(out, b"Content-Length: ")
        out = put_number(out, <uint64_t> head.content_length)
        out = put_text(out, b"\r\n")
    if head.wants_trailers:
        out = put_text(out, b"TE: trailers\r\nConnection: TE\r\n")
    out = put_via(out, data, head.via, head.http10)
    for piece in range(additions.piece_count):
        if piece:
            out = put_span(out, data, head.host)
        out = put(out, additions.pieces[piece].data, additions.pieces[piece].length)
    out = put_text(out, b"X-Request-ID: ")
    if head.request_id.length:
        out = put_span(out, data, head.request_id)
    else:
        out = put(out, additions.request_id.data, additions.request_id.length)
    out = put_text(out, b"\r\n\r\n")
    return <size_t> (out - begin)


cdef size_t response_room(const ParsedResponse *head) noexcept nogil:
    return ADDED + head.length + head.count


cdef size_t write_response(
    char *out, size_t room, const char *data, const ParsedResponse *head, const char *date,
    bint close
) noexcept nogil:
    cdef char *begin = out
    cdef uint32_t kinds = (
        1 << END_TO_END | 1 << CONTENT_LENGTH | 1 << DATE | 1 << HOST | 1 << REQUEST_ID
        | 1 << IDENTITY)
    if room < response_room(head):
        return 0
    if head.status == 204:      # none may be there (RFC 9110 section 8.6)
        kinds &= ~<uint32_t> (1 << CONTENT_LENGTH)
    out = put_text(out, b"HTTP/1.1 ")
    out = put_number(out, head.status)
    out = put_text(out, b" ")
    out = put_span(out, data, head.reason)
    out = put_text(out, b"\r\n")
    out = put_fields(out, data, head.fields, head.count, kinds)
    if date is not NULL and not head.dated:
        out = put(out, date, DATE_LINE)
    out = put_via(out, data, head.via, head.http10)
    if head.chunked:
        out = put_text(out, b"Transfer-Encoding: chunked\r\n")
    if close:
        out = put_text(out, b"Connection: close\r\n")
    out = put_text(out, b"\r\n")
    return <size_t> (out - begin)


cdef inline char *put_number(char *out, uint64_t number) noexcept nogil:
    cdef char[20] digits
    cdef size_t place = sizeof(digits)
    while True:
        place -= 1
        digits[place] = <char> (c"0" + number % 10)
        number //= 10
        if not number:
            return put(out, digits + place, sizeof(digits) - place)


cdef void write_date(char *out, int64_t second) noexcept nogil:
    cdef Civil shown = civil(second)
    out = put_text(out, b"Date: ")
    out = put(out, WEEKDAYS + 3 * shown.weekday, 3)
    out = put_text(out, b", ")
    out = put_digits(out, shown.day, 2)
    out = put_text(out, b" ")
    out = put(out, MONTHS + 3 * shown.month, 3)
    out = put_text(out, b" ")
    out = put_digits(out, shown.year, 4)
    out = put_text(out, b" ")
    out = put_digits(out, shown.hour, 2)
    out = put_text(out, b":")
    out = put_digits(out, shown.minute, 2)
    out = put_text(out, b":")
    out = put_digits(out, shown.second, 2)
    put_text(out, b" GMT\r\n")
