"""The field lines of a plain head: C-level interface."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp


cdef enum Progress:             # of a parser through a head
    RAN_OUT                     # of bytes, in the middle of what it was at
    WELL
    ODD

cdef struct Found:              # the fields of a head that mean something here
    uint32_t kinds              # a bit for every FieldKind that is there
    Span[SLOW_ONLY] value         # by FieldKind


# Parse field lines from `at[0]` on, and the empty one that ends them; more than `most` of them, two
# of a kind that may be there once, and one that is SLOW_ONLY are ODD. Afterwards `at[0]` is behind
# what went WELL.
cdef Progress parse_fields(
    const char *data, const char **at, const char *end, uint32_t most,
    Field *fields, uint16_t *count, Found *found) noexcept nogil


cdef inline bint has(const Found *found, FieldKind kind) noexcept nogil:
    return (found.kinds >> kind & 1) != 0


cdef inline Span said(const Found *found, FieldKind kind) noexcept nogil:
    """The value of a field, empty if there is none."""
    return found.value[<size_t> kind] if has(found, kind) else Span(0, 0)


cdef inline Span span(const char *data, const char *start, const char *stop) noexcept nogil:
    return Span(<uint16_t> (start - data), <uint16_t> (stop - start))


cdef inline Progress pass_over(
    const char **at, const char *end, const char *text, size_t length
) noexcept nogil:
    """Go on behind `text`, if that is what comes."""
    cdef size_t here = <size_t> (end - at[0])
    if here < length:
        return ODD if memcmp(at[0], text, here) else RAN_OUT
    if memcmp(at[0], text, length):
        return ODD
    at[0] += length
    return WELL
