"""The field lines of any head that the slow path accepts, as Python objects.

Unlike those of plain heads (`fields.pxi`) they may have any name, be folded, and end with LF alone.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr


def read_fields(bytes head not None):
    """The field lines of a head.

    Args:
        head: from its first line to the empty one at its end, checked (`trio_lb.http1.strict`).

    Returns:
        The lines, as (name, name in lower case, value without white space around it); the number
        of Hosts among them; whether Connection has `close`; and whether Content-Length and
        Transfer-Encoding are there at most once each, as digits alone and as `chunked`.

    Raises:
        ValueError: it is no head.
    """
    cdef const char *p = PyBytes_AS_STRING(head)
    cdef const char *end = p + len(head)
    cdef const char *stop = line_feed(p, end)
    cdef const char *colon
    cdef bint close = False, canonical = True
    cdef int hosts = 0, lengths = 0, codings = 0
    cdef FieldKind kind
    cdef bytes name, value
    cdef list fields = []
    while stop is not NULL:
        p = stop + 1
        stop = line_feed(p, end)
        if stop is NULL:
            break
        if without_cr(p, stop) == p:
            return fields, hosts, close, canonical
        colon = <const char *> memchr(p, c":", <size_t> (stop - p))
        if colon is NULL or colon == p:
            break
        name = PyBytes_FromStringAndSize(p, colon - p)
        kind = kind_of(p, <size_t> (colon - p))
        if stop + 1 < end and is_blank(stop[1]):
            value = unfolded(colon + 1, &stop, end)
        else:
            value = trimmed(colon + 1, without_cr(colon + 1, stop))
        if kind == HOST:
            hosts += 1
        elif kind == CONNECTION:
            close = close or lists_close(value)
        elif kind == CONTENT_LENGTH:
            lengths += 1
            canonical = canonical and lengths == 1 and value.isdigit()
        elif kind == TRANSFER_ENCODING:
            codings += 1
            canonical = canonical and codings == 1 and value == b"chunked"
        fields.append((name, in_lower_case(name), value))
    raise ValueError("no head")


cdef inline const char *line_feed(const char *p, const char *end) noexcept nogil:
    return <const char *> memchr(p, c"\n", <size_t> (end - p)) if p < end else NULL


cdef inline const char *without_cr(const char *p, const char *line_feed) noexcept nogil:
    """Where the line ends whose LF this is."""
    return line_feed - 1 if line_feed > p and line_feed[-1] == c"\r" else line_feed


cdef inline bytes trimmed(const char *p, const char *stop):
    while p < stop and is_blank(p[0]):
        p += 1
    while stop > p and is_blank(stop[-1]):
        stop -= 1
    return PyBytes_FromStringAndSize(p, stop - p)


cdef bytes unfolded(const char *p, const char **stop, const char *end):
    """A value of several lines, with a space for every line end and the white space behind it."""
    cdef list pieces = [PyBytes_FromStringAndSize(p, without_cr(p, stop[0]) - p)]
    while stop[0] is not NULL and stop[0] + 1 < end and is_blank(stop[0][1]):
        p = stop[0] + 1
        stop[0] = line_feed(p, end)
        if stop[0] is not NULL:
            while is_blank(p[0]):       # which ends at LF at the latest
                p += 1
            pieces.append(PyBytes_FromStringAndSize(p, without_cr(p, stop[0]) - p))
    return b" ".join(pieces).strip(b" \t")


cdef bytes in_lower_case(bytes name):
    """The same object if there is nothing to change."""
    cdef const char *p = PyBytes_AS_STRING(name)
    cdef const char *end = p + len(name)
    while p < end:
        if c"A" <= p[0] <= c"Z":
            return name.lower()
        p += 1
    return name


cdef bint lists_close(bytes value):
    """A list has `close` in it."""
    cdef const char *p = PyBytes_AS_STRING(value)
    cdef const char *end = p + len(value)
    cdef const char *comma
    cdef const char *stop
    while p < end:
        comma = <const char *> memchr(p, c",", <size_t> (end - p))
        stop = comma = end if comma is NULL else comma
        while p < stop and is_blank(p[0]):
            p += 1
        while stop > p and is_blank(stop[-1]):
            stop -= 1
        if is_word(p, stop, b"close"):
            return True
        p = comma + 1
    return False
