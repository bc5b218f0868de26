"""Reading the heads of responses on the fast path; see `parser.pxd`.

What is the same for requests is in `parser.pxi`, field lines are read in `fields.pxi`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp

cdef enum:
    SWITCHING_PROTOCOLS = 101


cdef Verdict parse_response(
    const char *data, size_t length, size_t seen, bint to_head, ParsedResponse *head
) noexcept nogil:
    cdef Verdict verdict = NEED_MORE if length < MAX_HEAD else FALLBACK
    cdef const char *at = data
    cdef const char *end = data + min(length, <size_t> MAX_HEAD)
    cdef Found found
    if nothing_new(data, length, seen):
        return verdict
    cdef Progress progress = parse_status_line(data, &at, end, head)
    if progress == WELL:
        progress = parse_fields(data, &at, end, MAX_FIELDS, head.fields, &head.count, &found)
    if progress == RAN_OUT:
        return verdict
    if progress == ODD or not judge_response(data, &found, to_head, head):
        return FALLBACK
    head.length = <uint32_t> (at - data)
    return HEAD


cdef inline Progress parse_status_line(
    const char *data, const char **at, const char *end, ParsedResponse *head
) noexcept nogil:
    cdef const char *p
    cdef uint8_t hundreds, tens, ones
    cdef Progress progress = pass_over(at, end, b"HTTP/1.1 ", 9)
    head.http10 = False
    if progress == ODD:
        head.http10 = True
        progress = pass_over(at, end, b"HTTP/1.0 ", 9)
    if progress != WELL:
        return progress
    p = at[0]
    if end - p < 4:
        return RAN_OUT
    hundreds = <uint8_t> (p[0] - c"0")
    tens = <uint8_t> (p[1] - c"0")
    ones = <uint8_t> (p[2] - c"0")
    head.status = <uint16_t> (hundreds * 100 + tens * 10 + ones)
    if not (100 <= head.status <= 599 and tens <= 9 and ones <= 9):
        return ODD
    p += 3
    # A space belongs behind the status also where there is no phrase; some servers forget it.
    if p[0] == c" ":
        p += 1
    elif p[0] != c"\r":
        return ODD
    at[0] = end_of_value(p, end)
    head.reason = span(data, p, at[0])
    return pass_over(at, end, b"\r\n", 2)


cdef inline bint judge_response(
    const char *data, const Found *found, bint to_head, ParsedResponse *head
) noexcept nogil:
    """What the fields say, taken together; false if it is not plain."""
    cdef bint framed
    if head.status < 200 and not is_plain_interim(found, head):
        return False
    head.via = said(found, VIA)
    head.dated = has(found, DATE)
    if not (judge_framing(data, found, &head.content_length, &head.chunked)
            and judge_connection(data, found, &head.close)):
        return False
    if head.http10:             # whatever it says of its connection, this is not kept
        head.close = True
        if head.chunked:
            return False
    framed = head.chunked or head.content_length >= 0
    head.bodiless = to_head or head.status == 204 or head.status == 304 or head.status < 200
    head.until_close = False
    if not head.bodiless:
        if not framed:
            head.until_close = head.close = True
        return True
    head.chunked = False        # it tells of the body that GET would get, if of any
    return True


cdef bint is_plain_interim(const Found *found, const ParsedResponse *head) noexcept nogil:
    """It speaks neither of the connection nor of a body."""
    return (head.status != SWITCHING_PROTOCOLS and not head.http10
            and not has(found, CONNECTION) and not has(found, UPGRADE)
            and not has(found, CONTENT_LENGTH) and not has(found, TRANSFER_ENCODING))


cdef tuple response_parts(const char *data, const ParsedResponse *head):
    return (head.status, span_bytes(data, head.reason), b"1.0" if head.http10 else b"1.1",
            field_list(data, head.fields, head.count))
