"""Memory for bytes on their way: borrowed while they flow, so that idle connections have none."""

cdef enum:
    SMALL = 32 * 1024           # a head, and what comes with it; most whole messages
    LARGE = 512 * 1024          # for relaying bodies that are larger
    MOST_LARGE = 64             # lent at a time: readers may be slow, and many
    KEPT_SMALL = 256            # free buffers that are kept: 8 MiB
    KEPT_LARGE = 16             # likewise

cdef struct Buffer:
    char *data                  # NULL: nothing is borrowed
    size_t size
    size_t start                # data[start:end] is in use
    size_t end

cdef class Buffers:
    """The free buffers of a process; keeps some of each size."""
    # Apart from the memory that they point to: what was given back is not touched until it is
    # borrowed, when it is about to be used.
    cdef char *free_small[KEPT_SMALL]
    cdef char *free_large[KEPT_LARGE]
    cdef int small_count
    cdef int large_count
    cdef int lent_large
    cdef readonly int borrowed          # all together
    cdef Pipes pipes            # what goes on as it came needs no buffer

    # Get an empty buffer that holds at least `size` bytes, up to LARGE; false if there is none.
    cdef bint borrow(self, Buffer *buffer, size_t size) noexcept nogil
    # May be called without one.
    cdef void give_back(self, Buffer *buffer) noexcept nogil
    # Have all room that there is behind what is in it, and for `size` bytes in all: by moving to
    # the front, by borrowing, by changing to a larger one. False if that can't be.
    cdef bint reserve(self, Buffer *buffer, size_t size) noexcept nogil


cdef inline size_t held(const Buffer *buffer) noexcept nogil:
    """Bytes in it."""
    return buffer.end - buffer.start
