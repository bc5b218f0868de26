"""Choosing a server: the interface of all algorithms."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t


cdef enum:
    NOBODY = -1


cdef class Selection:
    """One algorithm over some servers of a table, its *members*. Belongs to one thread; its memory
    is its own.

    For a pick from compiled code: set `excluded[slot]` to 1 for every slot that was tried, call
    `pick_slot`, set them back to 0.
    """
    cdef Table table
    cdef uint8_t *excluded      # [capacity]; all 0 between two picks
    cdef uint32_t *slots        # [count]: the members' slots, in order
    cdef uint32_t *after        # [capacity]: place in `slots` of the first one after this slot
    cdef uint32_t count
    cdef uint32_t *cursor       # in the table

    cdef uint32_t place_after(self, uint32_t cursor) noexcept nogil
    cdef int32_t pick_slot(self, uint64_t now_ms) noexcept nogil
    cdef int32_t choose(self, uint64_t now_ms) noexcept nogil
    cdef void missed(self, uint32_t slot) noexcept nogil
