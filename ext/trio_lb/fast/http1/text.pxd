"""Writing text where there is room for it: each returns the place behind what it wrote."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, strlen


cdef inline char *put(char *out, const char *data, size_t length) noexcept nogil:
    memcpy(out, data, length)
    return out + length


cdef inline char *put_text(char *out, const char *text) noexcept nogil:
    return put(out, text, strlen(text))     # a constant: so is its length, once this is inlined


cdef inline char *put_digits(char *out, int64_t number, int count) noexcept nogil:
    """The last so many decimal digits of a number that is not negative."""
    cdef int place
    for place in range(count - 1, -1, -1):
        out[place] = <char> (c"0" + number % 10)
        number //= 10
    return out + count
