"""The field lines of a plain head: where name and value are, and which fields mean something here.

The C-level interface is in `fields.pxd`.

1. Names                    note, kind_of
2. Lines                    parse_fields
"""

from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport strlen


# 1. Names

cdef struct Name:
    const char *text            # in lower case
    size_t length
    FieldKind kind

cdef enum:
    NAMES = 29
    LONGEST = 25

cdef Name[NAMES] names          # the shorter ones first
cdef size_t[LONGEST + 2] first_of_length    # where in `names` those of this length begin
# By length, a bit for the low five bits of every first letter: tells nearly all other names from
# these without looking closer.
cdef uint32_t[LONGEST + 1] letters_of_length


cdef size_t noted = 0


cdef void note(const char *text, FieldKind kind) noexcept:
    """Add a name, at least as long as those before it."""
    global noted
    cdef size_t length = strlen(text), longer
    names[noted] = Name(text, length, kind)
    noted += 1
    letters_of_length[length] |= <uint32_t> 1 << (text[0] & 31)
    for longer in range(length + 1, <size_t> LONGEST + 2):
        first_of_length[longer] = noted


note(b"te", TE)
note(b"via", VIA)
note(b"host", HOST)
note(b"date", DATE)
# Not a field that anybody has, but `Connection: close` would name it away.
note(b"close", SLOW_ONLY)
# To CGI this is HTTP_PROXY, which its own requests obey.
note(b"proxy", SLOW_ONLY)
note(b"expect", SLOW_ONLY)
note(b"upgrade", UPGRADE)
note(b"forwarded", IDENTITY)
note(b"x-real-ip", IDENTITY)
note(b"connection", CONNECTION)
note(b"keep-alive", KEEP_ALIVE)
note(b"max-forwards", SLOW_ONLY)
note(b"x-request-id", REQUEST_ID)
note(b"authorization", AUTHENTICATION)
note(b"content-length", CONTENT_LENGTH)
note(b"http2-settings", HTTP2_SETTINGS)
note(b"x-forwarded-for", IDENTITY)
# Of servers that take who was authenticated for the user of all that follows.
note(b"persistent-auth", SLOW_ONLY)
note(b"proxy-connection", KEEP_ALIVE)
note(b"www-authenticate", AUTHENTICATION)
note(b"x-forwarded-host", IDENTITY)
note(b"x-forwarded-port", IDENTITY)
note(b"transfer-encoding", TRANSFER_ENCODING)
note(b"x-forwarded-proto", IDENTITY)
note(b"proxy-authenticate", SLOW_ONLY)
note(b"x-forwarded-server", IDENTITY)
note(b"proxy-authorization", SLOW_ONLY)
note(b"proxy-authentication-info", SLOW_ONLY)


cdef inline FieldKind kind_of(const char *name, size_t length) noexcept nogil:
    cdef size_t place
    if length > LONGEST or not letters_of_length[length] >> (name[0] & 31) & 1:
        return END_TO_END
    for place in range(first_of_length[length], first_of_length[length + 1]):
        if same(name, names[place].text, length):
            return names[place].kind
    return END_TO_END


# 2. Lines

cdef uint32_t REPEATABLE = 1 << END_TO_END | 1 << DATE | 1 << IDENTITY | 1 << KEEP_ALIVE


cdef Progress parse_fields(
    const char *data, const char **at, const char *end, uint32_t most,
    Field *fields, uint16_t *count, Found *found
) noexcept nogil:
    """All field lines, and the empty one that ends them."""
    cdef Progress progress
    cdef Field *field
    cdef uint32_t kinds = 0, bit
    count[0] = 0
    while at[0] < end:
        if at[0][0] == c"\r":
            found.kinds = kinds
            return pass_over(at, end, b"\r\n", 2)
        if count[0] == most:
            return ODD
        field = &fields[count[0]]
        progress = parse_line(data, at, end, field)
        if progress != WELL:
            return progress
        count[0] += 1
        if field.kind == AUTHENTICATION:
            if binds_connection(data + field.value.start, field.value.length):
                return ODD
            field.kind = END_TO_END
        elif field.kind != END_TO_END:
            bit = <uint32_t> 1 << field.kind
            if field.kind == SLOW_ONLY or kinds & bit & ~REPEATABLE:
                return ODD
            kinds |= bit
            found.value[<size_t> field.kind] = field.value
    return RAN_OUT


cdef inline Progress parse_line(
    const char *data, const char **at, const char *end, Field *field
) noexcept nogil:
    """One field line. It begins at `at[0]`, which is before `end`."""
    cdef const char *name = at[0]
    cdef const char *colon = end_of_name(name, end)
    cdef const char *value
    cdef const char *stop
    cdef const char *line_end
    if colon == end:
        return RAN_OUT
    if colon == name or colon[0] != c":":
        return ODD
    value = colon + 1
    while value < end and is_blank(value[0]):
        value += 1
    line_end = stop = end_of_value(value, end)
    if end - line_end < 2:
        return ODD if line_end < end and line_end[0] != c"\r" else RAN_OUT
    if line_end[0] != c"\r" or line_end[1] != c"\n":
        return ODD
    while stop > value and is_blank(stop[-1]):
        stop -= 1
    field.name = span(data, name, colon)
    field.value = span(data, value, stop)
    field.kind = kind_of(name, <size_t> (colon - name))
    field.canonical = value - colon == 2 and colon[1] == c" " and stop == line_end
    at[0] = line_end + 2
    return WELL


cdef bint binds_connection(const char *p, size_t length) noexcept nogil:
    """A list with a scheme that authenticates the connection: see trio_lb.http.personal."""
    cdef const char *end = p + length
    cdef const char *word
    while p < end:
        while p < end and is_blank(p[0]):
            p += 1
        word = p
        p = end_of_name(p, end)
        if (p == end or is_blank(p[0]) or p[0] == c",") and (
                is_word(word, p, b"ntlm") or is_word(word, p, b"negotiate")
                or is_word(word, p, b"kerberos") or is_word(word, p, b"nego2")
                or is_word(word, p, b"credssp")):
            return True
        while p < end and p[0] != c",":
            p += 1
        p += 1
    return False


cdef inline bint is_word(const char *p, const char *end, const char *word) noexcept nogil:
    return <size_t> (end - p) == strlen(word) and same(p, word, strlen(word))


cdef inline bint is_blank(char byte) noexcept nogil:
    return byte == c" " or byte == c"\t"
