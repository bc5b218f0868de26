"""Reading heads on the fast path: from bytes to spans of them.

The verdicts and the C-level interface are in `parser.pxd`, what a parsed head is in `parsed.pxd`.
Field lines are read in `fields.pxi`, responses in `response_parser.pxi`.
What is plain is less than what RFC 9112 allows: everything that servers, proxies or attackers might
read in more than one way is left to the slow path, and so is what is rare.

1. Of both                  a head that grows, framing, Connection
2. Requests                 parse_request
3. For Python               request_parts
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp


cdef enum:
    LENGTH_DIGITS = 18          # of Content-Length at most: any such number fits
    HOST_LENGTH = 255           # bytes of a name at most, as in DNS
    PORT_DIGITS = 5
    MAX_PORT = 65535
    REQUEST_ID_LENGTH = 128     # bytes at most
    OUR_NAME = 7                # bytes of it, in Via
    MOST_PASSES = 10            # of requests that don't go round, of all of us together


# 1. Of both

cdef inline bint nothing_new(const char *data, size_t length, size_t seen) noexcept nogil:
    """Since the first `seen` bytes were looked at, no line was completed, and no CR led to none."""
    return seen > 0 and (
        seen >= length or (
            memchr(data + seen, c"\n", length - seen) is NULL
            and memchr(data + seen - 1, c"\r", length - seen) is NULL))


cdef inline bint is_text(
    const char *data, Span value, const char *text, size_t length
) noexcept nogil:
    return value.length == length and same(data + value.start, text, length)


cdef inline int64_t declared_length(const char *data, const Found *found) noexcept nogil:
    """What Content-Length says; -1 if there is none, -2 if it isn't a number's plain spelling."""
    cdef int64_t length = 0
    cdef uint16_t place
    cdef char digit
    cdef Span value = said(found, CONTENT_LENGTH)
    cdef const char *digits = data + value.start
    if not has(found, CONTENT_LENGTH):
        return -1
    if not 1 <= value.length <= LENGTH_DIGITS or (digits[0] == c"0" and value.length > 1):
        return -2
    for place in range(value.length):
        digit = digits[place]
        if not c"0" <= digit <= c"9":
            return -2
        length = length * 10 + (digit - c"0")
    return length


cdef inline bint judge_framing(
    const char *data, const Found *found, int64_t *content_length, uint8_t *chunked
) noexcept nogil:
    """Content-Length and Transfer-Encoding: one of them or none; false if they are not plain."""
    cdef Span coding = said(found, TRANSFER_ENCODING)
    content_length[0] = declared_length(data, found)
    chunked[0] = has(found, TRANSFER_ENCODING)
    if not chunked[0]:
        return content_length[0] >= -1
    # h11 makes lower case of it; so that nobody has to, no other spelling is plain.
    return (content_length[0] == -1 and coding.length == 7
            and memcmp(data + coding.start, b"chunked", 7) == 0)


cdef bint judge_options(const char *data, const Found *found, uint8_t *close) noexcept nogil:
    """Connection, a list of what may be plain; fields that are named there are left out anyhow."""
    cdef Span value = said(found, CONNECTION)
    cdef const char *p = data + value.start
    cdef const char *end = p + value.length
    cdef const char *option
    close[0] = False
    while p < end:
        option = p
        p = end_of_name(p, end)
        if is_word(option, p, b"close"):
            close[0] = True
        elif not (is_word(option, p, b"keep-alive") or is_word(option, p, b"upgrade")
                  or is_word(option, p, b"http2-settings") or is_word(option, p, b"te")):
            return False
        if p < end and (p[0] != c"," or p + 1 == end):
            return False
        p += 1
        while p < end and is_blank(p[0]):
            p += 1
    return not has(found, CONNECTION) or value.length > 0


cdef inline bint judge_connection(
    const char *data, const Found *found, uint8_t *close
) noexcept nogil:
    """Connection of a response: mostly it is absent, or one word."""
    cdef Span value = said(found, CONNECTION)
    close[0] = False
    if not has(found, CONNECTION) or is_text(data, value, b"keep-alive", 10):
        return True
    close[0] = is_text(data, value, b"close", 5)
    return close[0] or judge_options(data, found, close)


# 2. Requests

cdef inline bint judge_offers(
    const char *data, const Found *found, uint8_t *wants_trailers
) noexcept nogil:
    """Upgrade, if it offers what is not passed on anyhow (see trio_lb.http.upgrade), and TE."""
    wants_trailers[0] = has(found, TE)
    return (
        (not has(found, UPGRADE) or is_text(data, said(found, UPGRADE), b"h2c", 3))
        and (not has(found, TE) or is_text(data, said(found, TE), b"trailers", 8)))


cdef Verdict parse_request(
    const char *data, size_t length, size_t seen, const HeadLimits *limits,
    ParsedRequest *head
) noexcept nogil:
    cdef size_t most = min(limits.head, <uint32_t> MAX_HEAD)
    cdef Verdict verdict = NEED_MORE if length < most else FALLBACK
    cdef const char *at = data
    cdef const char *end = data + min(length, most)
    cdef Found found
    if nothing_new(data, length, seen):
        return verdict
    cdef Progress progress = parse_request_line(data, &at, end, limits, head)
    if progress == WELL:
        progress = parse_fields(
            data, &at, end, min(limits.fields, <uint32_t> MAX_FIELDS),
            head.fields, &head.count, &found)
    if progress == RAN_OUT:
        return verdict
    if progress == ODD or not judge_request(data, &found, head):
        return FALLBACK
    head.length = <uint32_t> (at - data)
    # Within the limit as it came, and as it will be written, which may add a space to each field.
    return HEAD if head.length + head.count <= limits.head else FALLBACK


cdef inline Progress parse_request_line(
    const char *data, const char **at, const char *end, const HeadLimits *limits,
    ParsedRequest *head
) noexcept nogil:
    cdef const char *p = data
    cdef const char *target
    cdef Progress progress
    while p < end and c"A" <= p[0] <= c"Z":
        p += 1
    if p == end:
        return RAN_OUT
    if p[0] != c" " or not judge_method(data, <size_t> (p - data), head):
        return ODD
    head.method = span(data, data, p)
    target = p + 1
    if target == end:
        return RAN_OUT
    head.authority.length = 0
    p = target
    if target[0] != c"/":
        progress = parse_authority(data, &p, end, head)
        if progress != WELL:
            return progress
    head.target = span(data, p, end_of_target(p, end))
    p += head.target.length
    if p - target > <ptrdiff_t> limits.target:
        return ODD
    at[0] = p
    return parse_version(at, end, &head.http10)


cdef Progress parse_authority(
    const char *data, const char **at, const char *end, ParsedRequest *head
) noexcept nogil:
    """What is before the path of an absolute target: `judge_request` compares it with Host."""
    cdef const char *p
    cdef Progress progress = pass_over(at, end, b"http://", SCHEME)
    if progress != WELL:
        return progress
    p = at[0]
    while p < end and p - at[0] <= HOST_LENGTH + 1 + PORT_DIGITS and p[0] != c"/" and p[0] != c" ":
        p += 1
    if p == end:
        return RAN_OUT
    if p[0] != c"/" or p == at[0]:
        return ODD
    head.authority = span(data, at[0], p)
    at[0] = p
    return WELL


cdef inline Progress parse_version(
    const char **at, const char *end, uint8_t *http10
) noexcept nogil:
    cdef Progress progress = pass_over(at, end, b" HTTP/1.", 8)
    if progress != WELL:
        return progress
    if at[0] == end:
        return RAN_OUT
    http10[0] = at[0][0] == c"0"
    if not http10[0] and at[0][0] != c"1":
        return ODD
    at[0] += 1
    return pass_over(at, end, b"\r\n", 2)


cdef bint may_climb(const char *data, const ParsedRequest *head) noexcept nogil:
    """Two dots in a row, or an escape that may come to be a dot: see trio_lb.http.climbing."""
    cdef const char *p = data + head.target.start
    cdef const char *end = p + head.target.length
    while p < end and p[0] != c"?":
        if p[0] == c"." and p + 1 < end and p[1] == c".":
            return True
        if p[0] == c"%" and (end - p < 3 or not is_hex(p[1]) or not is_hex(p[2]) or (
                p[1] == c"2" and (p[2] | 0x20 == c"e" or p[2] == c"5"))):
            return True
        p += 1
    return False


cdef inline bint is_hex(char byte) noexcept nogil:
    return c"0" <= byte <= c"9" or c"a" <= byte | 0x20 <= c"f"


cdef inline bint judge_method(
    const char *method, size_t length, ParsedRequest *head,
) noexcept nogil:
    """Those that are ordinary; TRACE and CONNECT are not, and unknown ones are rare."""
    head.head_only = False
    head.idempotent = True      # RFC 9110 section 9.2.2
    if length == 3:
        return memcmp(method, b"GET", 3) == 0 or memcmp(method, b"PUT", 3) == 0
    if length == 4:
        head.head_only = head.idempotent = memcmp(method, b"HEAD", 4) == 0
        return head.head_only or memcmp(method, b"POST", 4) == 0
    if length == 6:
        return memcmp(method, b"DELETE", 6) == 0
    if length == 7:
        return memcmp(method, b"OPTIONS", 7) == 0
    head.idempotent = False
    return length == 5 and memcmp(method, b"PATCH", 5) == 0


cdef inline bint judge_request(
    const char *data, const Found *found, ParsedRequest *head
) noexcept nogil:
    """What the fields say, taken together; false if it is not plain."""
    head.host = said(found, HOST)
    head.via = said(found, VIA)
    head.request_id = said(found, REQUEST_ID)
    head.claims = has(found, IDENTITY)
    if not is_plain_hop(data, found, head):
        return False
    if head.authority.length and not (
            head.authority.length == head.host.length and memcmp(
                data + head.authority.start, data + head.host.start, head.host.length) == 0):
        return False
    return (
        is_host(data + head.host.start, head.host.length)
        and not goes_round(data + head.via.start, head.via.length)
        and (not has(found, REQUEST_ID)
             or is_request_id(data + head.request_id.start, head.request_id.length))
    )


cdef inline bint is_plain_hop(
    const char *data, const Found *found, ParsedRequest *head
) noexcept nogil:
    """What the fields say about this connection; false if it is not plain."""
    if not (judge_framing(data, found, &head.content_length, &head.chunked)
            and judge_options(data, found, &head.close)
            and judge_offers(data, found, &head.wants_trailers)):
        return False
    if head.http10:             # its clients know neither chunks nor trailers
        head.close = True
        head.wants_trailers = False
    return not (head.http10 and head.chunked)


cdef inline bint goes_round(const char *via, size_t length) noexcept nogil:
    """Our name is in it so often that it may be a loop: see trio_lb.http.via."""
    cdef const char *end = via + length
    cdef int passes = 0
    if length < MOST_PASSES * OUR_NAME:
        return False
    while end - via >= OUR_NAME:
        if same(via, b"trio-lb", OUR_NAME):
            passes += 1
        via += 1
    return passes >= MOST_PASSES


cdef inline bint is_host(const char *host, size_t length) noexcept nogil:
    """A name or an IPv4 address, and perhaps a port: no literal in brackets, nothing escaped."""
    cdef const char *end = host + length
    cdef const char *colon = end_of(host, end, HOST_BYTES)
    cdef const char *p = colon + 1
    cdef uint32_t port = 0
    if not 1 <= colon - host <= HOST_LENGTH:
        return False
    if colon == end:
        return True
    if colon[0] != c":" or not 1 <= end - p <= PORT_DIGITS or p[0] == c"0":
        return False
    while p < end:
        if not c"0" <= p[0] <= c"9":
            return False
        port = port * 10 + <uint32_t> (p[0] - c"0")
        p += 1
    return port <= MAX_PORT


cdef inline bint is_request_id(const char *value, size_t length) noexcept nogil:
    return (1 <= length <= REQUEST_ID_LENGTH
            and end_of(value, value + length, REQUEST_ID_BYTES) == value + length)


# 3. For Python

cdef list field_list(const char *data, const Field *fields, uint16_t count):
    cdef uint16_t place
    cdef list result = []
    for place in range(count):
        name = span_bytes(data, fields[place].name)
        result.append((name, name.lower(), span_bytes(data, fields[place].value)))
    return result


cdef tuple request_parts(const char *data, const ParsedRequest *head):
    return (span_bytes(data, head.method), span_bytes(data, target_as_sent(head)),
            b"1.0" if head.http10 else b"1.1", field_list(data, head.fields, head.count))
