"""The shared table: C-level interface."""

from libc.stdint cimport uint32_t, uint64_t


cdef class Table(Block):
    """The block as the process that has row number `row` writes it.

    The C-level methods take slots on trust; the Python ones check that there is a server.
    """
    cdef RowHeader *own         # our row
    cdef Counters *counters     # [capacity], in our row
    cdef Histogram *histograms  # [capacity], in our row
    cdef uint32_t *sightings    # [capacity][sightings_step], in our row
    cdef uint32_t lowest_free   # the owner's: no slot below it is free

    cdef void note_row(self) noexcept nogil
    cdef bint change_state(self, uint32_t slot, uint32_t old, uint32_t new) noexcept nogil
    cdef bint another_alive(self, uint32_t slot, tuple among) except -1
    cdef bint acquire_slot(self, uint32_t slot) noexcept nogil
    cdef bint release_slot(self, uint32_t slot) noexcept nogil
    cdef void note_mark(self, uint32_t slot, uint64_t seen) noexcept nogil
    cdef void record_answer(
        self, uint32_t slot, uint64_t now_ms, double micros, uint32_t status) noexcept nogil
    cdef void record_time(
        self, uint32_t slot, uint64_t now_ms, double micros, bint failed) noexcept nogil
    cdef void record_completion(
        self, uint32_t slot, uint64_t received, uint64_t sent) noexcept nogil
    cdef void record_request(self, uint32_t status) noexcept nogil
