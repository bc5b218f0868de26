"""The lines of an access log: a batch of records in, text out, without Python in between.

What a client has sent is escaped so that a line stays one line of printable ASCII, whatever it was.
docs/reports.md has the formats; the Python model that they are held against is in tests/support.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from trio_lb.fast.http1 cimport civil, Civil, MONTHS, put, put_digits, put_text

cdef extern from "record/plain.h" nogil:
    size_t copy_plain "tlb_copy_plain"(char *out, const char *text, size_t size) noexcept

cdef enum:
    # Room for a line: a byte of a text becomes six at most (`\u001b`), as many as one of an
    # AttemptEntry may; this is more than all that a line has besides.
    PER_BYTE = 6
    BESIDES = 1024
    MOST_MICROS = 999999999999999       # 31 years; to as many digits, a double is exact

cdef const char *HEX = "0123456789abcdef"
cdef const char *UPPER_HEX = "0123456789ABCDEF"

cdef struct Reader:                     # goes through the texts of an entry
    const char *parts[PARTS]
    const char *next                    # the first text of its attempts

ctypedef char *(*Format)(char *out, const Entry *entry, const Reader *texts) noexcept nogil


def combined(RecordBatch batch not None):
    r"""Lines in the combined format of Apache and nginx.

    Quotes, backslashes, control characters and all that is not ASCII become `\xHH`, as in nginx.

    Raises:
        MemoryError: there is none left for them.
    """
    return lines(batch, put_combined)


def json(RecordBatch batch not None):
    """Lines of one JSON object each.

    Bytes that aren't UTF-8 are shown as backslash escapes; non-ASCII is escaped by JSON.

    Raises:
        MemoryError: there is none left for them.
    """
    return lines(batch, put_json)


cdef bytes lines(RecordBatch batch, Format put_line):
    """Made without the GIL: nobody has to wait for it."""
    cdef char *data = NULL
    cdef size_t size = 0, end = 0
    cdef bint made
    try:
        with nogil:
            made = put_lines(batch.data, batch.length, put_line, &data, &size, &end)
        if not made:
            raise MemoryError
        return data[:end] if end else b""
    finally:
        free(data)


cdef bint put_lines(
        const char *at, size_t length, Format put_line, char **data, size_t *size,
        size_t *end) noexcept nogil:
    cdef const char *behind = at + length
    cdef const Entry *entry
    cdef Reader texts
    cdef size_t wanted
    cdef char *larger
    while at != behind:
        entry = <const Entry *> at
        wanted = end[0] + PER_BYTE * entry.size + BESIDES
        if size[0] < wanted:
            larger = <char *> realloc(data[0], max(wanted, 2 * size[0]))
            if larger is NULL:
                return False
            data[0] = larger
            size[0] = max(wanted, 2 * size[0])
        read(entry, &texts)
        end[0] = put_line(data[0] + end[0], entry, &texts) - data[0]
        at += entry.size
    return True


cdef inline void read(const Entry *entry, Reader *texts) noexcept nogil:
    cdef const char *next = <const char *> (
        <const AttemptEntry *> (entry + 1) + entry.attempt_count)
    cdef int part
    for part in range(PARTS):
        texts.parts[part] = next
        if entry.lengths[part] != ABSENT:
            next += entry.lengths[part]
    texts.next = next


cdef char *put_combined(char *out, const Entry *entry, const Reader *texts) noexcept nogil:
    cdef Civil at = civil(entry.time_us // 1000000)
    out = put_escaped(out, texts.parts[CLIENT], entry.lengths[CLIENT])
    out = put_text(out, b" - - [")
    out = put_digits(out, at.day, 2)
    out = put_text(out, b"/")
    out = put(out, MONTHS + 3 * at.month, 3)
    out = put_text(out, b"/")
    out = put_digits(out, at.year, 4)
    out = put_text(out, b":")
    out = put_clock(out, &at)
    out = put_text(out, b' +0000] "')
    if entry.lengths[METHOD]:
        out = put_escaped(out, texts.parts[METHOD], entry.lengths[METHOD])
        out = put_text(out, b" ")
        out = put_escaped(out, texts.parts[TARGET], entry.lengths[TARGET])
        out = put_text(out, b" HTTP/")
        out = put_escaped(out, texts.parts[VERSION], entry.lengths[VERSION])
    else:
        out = put_text(out, b"-")
    out = put_text(out, b'" ')
    out = put_digits(out, entry.status, 3)
    out = put_text(out, b" ")
    out = put_number(out, entry.bytes_sent)
    out = put_text(out, b' "')
    out = put_or_dash(out, texts.parts[REFERER], entry.lengths[REFERER])
    out = put_text(out, b'" "')
    out = put_or_dash(out, texts.parts[USER_AGENT], entry.lengths[USER_AGENT])
    return put_text(out, b'"\n')


cdef inline char *put_or_dash(char *out, const char *text, uint32_t length) noexcept nogil:
    return put_escaped(out, text, length or ABSENT)


cdef inline char *put_escaped(char *out, const char *text, uint32_t length) noexcept nogil:
    """As nginx does it: no quote within a quoted field, so that the simplest parser is right."""
    cdef size_t place = 0, count
    cdef uint8_t byte
    if length == ABSENT:
        return put_text(out, b"-")
    while True:
        count = copy_plain(out, text + place, length - place)
        out += count
        place += count
        if place == length:
            return out
        byte = <uint8_t> text[place]
        out = put_text(out, b"\\x")
        out[0] = UPPER_HEX[byte >> 4]
        out[1] = UPPER_HEX[byte & 15]
        out += 2
        place += 1


cdef char *put_json(char *out, const Entry *entry, const Reader *texts) noexcept nogil:
    cdef Civil at = civil(entry.time_us // 1000000)
    cdef const AttemptEntry *attempts = <const AttemptEntry *> (entry + 1)
    cdef const char *text = texts.next
    cdef uint32_t number
    out = put_text(out, b'{"time":"')
    out = put_digits(out, at.year, 4)
    out = put_text(out, b"-")
    out = put_digits(out, at.month + 1, 2)
    out = put_text(out, b"-")
    out = put_digits(out, at.day, 2)
    out = put_text(out, b"T")
    out = put_clock(out, &at)
    out = put_text(out, b".")
    out = put_digits(out, entry.time_us % 1000000 // 1000, 3)
    out = put_string(put_text(out, b'Z","client":'), texts.parts[CLIENT], entry.lengths[CLIENT])
    out = put_string(put_text(out, b',"method":'), texts.parts[METHOD], entry.lengths[METHOD])
    out = put_string(put_text(out, b',"target":'), texts.parts[TARGET], entry.lengths[TARGET])
    out = put_string(put_text(out, b',"version":'), texts.parts[VERSION], entry.lengths[VERSION])
    out = put_number(put_text(out, b',"status":'), entry.status)
    out = put_number(put_text(out, b',"bytes_sent":'), entry.bytes_sent)
    out = put_number(put_text(out, b',"bytes_received":'), entry.bytes_received)
    out = put_seconds(put_text(out, b',"duration_s":'), entry.duration_us)
    out = put_string(
        put_text(out, b',"request_id":'), texts.parts[REQUEST_ID], entry.lengths[REQUEST_ID])
    out = put_string(put_text(out, b',"referer":'), texts.parts[REFERER], entry.lengths[REFERER])
    out = put_string(
        put_text(out, b',"user_agent":'), texts.parts[USER_AGENT], entry.lengths[USER_AGENT])
    out = put_string(put_text(out, b',"server":'), texts.parts[SERVER], entry.lengths[SERVER])
    out = put_text(out, b',"attempts":[')
    for number in range(entry.attempt_count):
        if number:
            out = put_text(out, b",")
        out = put_string(put_text(out, b'{"server":'), text, attempts[number].server)
        text += attempts[number].server
        out = put_string(put_text(out, b',"outcome":'), text, attempts[number].outcome)
        text += attempts[number].outcome
        out = put_seconds(put_text(out, b',"duration_s":'), attempts[number].duration_us)
        out = put_text(
            out, b',"reused":true}' if attempts[number].reused else b',"reused":false}')
    out = put_string(put_text(out, b'],"ended":'), texts.parts[OUTCOME], entry.lengths[OUTCOME])
    out = put_string(put_text(out, b',"reason":'), texts.parts[REASON], entry.lengths[REASON])
    return put_text(out, b"}\n")


cdef inline char *put_string(char *out, const char *text, uint32_t length) noexcept nogil:
    """A JSON string in ASCII, or `null`."""
    cdef uint32_t place = 0, code, count
    cdef uint8_t byte
    if length == ABSENT:
        return put_text(out, b"null")
    out = put_text(out, b'"')
    while True:
        count = <uint32_t> copy_plain(out, text + place, length - place)
        out += count
        place += count
        if place == length:
            return put_text(out, b'"')
        byte = <uint8_t> text[place]
        if byte < 128:
            out = put_ascii(out, byte)
            place += 1
        else:
            count = decode(<const uint8_t *> text + place, length - place, &code)
            if count:
                out = put_code_point(out, code)
                place += count
            else:                       # not UTF-8
                out = put_text(out, b"\\\\x")
                out[0] = HEX[byte >> 4]
                out[1] = HEX[byte & 15]
                out += 2
                place += 1


cdef char *put_ascii(char *out, uint8_t byte) noexcept nogil:
    """What is escaped of it."""
    if byte == c'"':
        return put_text(out, b'\\"')
    if byte == c"\\":
        return put_text(out, b"\\\\")
    if byte == c"\n":
        return put_text(out, b"\\n")
    if byte == c"\r":
        return put_text(out, b"\\r")
    if byte == c"\t":
        return put_text(out, b"\\t")
    if byte == 8:
        return put_text(out, b"\\b")
    if byte == 12:
        return put_text(out, b"\\f")
    return put_unit(out, byte)


cdef inline char *put_unit(char *out, uint32_t unit) noexcept nogil:
    out = put_text(out, b"\\u")
    out[0] = HEX[unit >> 12 & 15]
    out[1] = HEX[unit >> 8 & 15]
    out[2] = HEX[unit >> 4 & 15]
    out[3] = HEX[unit & 15]
    return out + 4


cdef inline char *put_code_point(char *out, uint32_t code) noexcept nogil:
    if code < 0x10000:
        return put_unit(out, code)
    code -= 0x10000
    return put_unit(put_unit(out, 0xD800 | code >> 10), 0xDC00 | code & 0x3FF)


cdef inline uint32_t decode(const uint8_t *text, uint32_t length, uint32_t *code) noexcept nogil:
    """Bytes of the UTF-8 sequence that begins here; 0: there is none (RFC 3629 section 4)."""
    cdef uint8_t lead = text[0]
    cdef uint32_t count, place, least
    if 0xC2 <= lead < 0xE0:
        count, least, code[0] = 2, 0x80, lead & 0x1F
    elif 0xE0 <= lead < 0xF0:
        count, least, code[0] = 3, 0x800, lead & 0x0F
    elif 0xF0 <= lead < 0xF5:
        count, least, code[0] = 4, 0x10000, lead & 0x07
    else:
        return 0
    if count > length:
        return 0
    for place in range(1, count):
        if text[place] & 0xC0 != 0x80:
            return 0
        code[0] = code[0] << 6 | text[place] & 0x3F
    if code[0] < least or code[0] > 0x10FFFF or 0xD800 <= code[0] < 0xE000:
        return 0
    return count


cdef inline char *put_clock(char *out, const Civil *at) noexcept nogil:
    out = put_text(put_digits(out, at.hour, 2), b":")
    out = put_text(put_digits(out, at.minute, 2), b":")
    return put_digits(out, at.second, 2)


cdef inline char *put_number(char *out, uint64_t number) noexcept nogil:
    return put_last_digits(out, number, 1)


cdef char *put_last_digits(char *out, uint64_t number, int least) noexcept nogil:
    """All digits of a number, with zeros before them if those are fewer than so many."""
    cdef char[20] digits
    cdef int place = 20
    while number or place > 20 - least:
        place -= 1
        digits[place] = <char> (c"0" + number % 10)
        number //= 10
    return put(out, digits + place, 20 - place)


cdef char *put_seconds(char *out, int64_t micros) noexcept nogil:
    """Seconds as Python writes a float."""
    cdef uint64_t whole, left
    cdef int places = 6, power = -6
    if micros < 0:
        out = put_text(out, b"-")
        micros = -micros
    micros = min(micros, <int64_t> MOST_MICROS)
    whole = <uint64_t> micros // 1000000
    left = <uint64_t> micros % 1000000
    if not whole and 0 < left < 100:            # 1.2e-05
        if left >= 10:
            power = -5
            out = put_number(out, left // 10)
            left %= 10
            if left:
                out = put_number(put_text(out, b"."), left)
        else:
            out = put_number(out, left)
        return put_number(put_text(out, b"e-0"), -power)
    while places > 1 and left % 10 == 0:
        left //= 10
        places -= 1
    return put_last_digits(put_text(put_number(out, whole), b"."), left, places)
