"""The clock by which deadlines are judged: C-level interface."""

cdef double TICK                # seconds between two looks at the deadlines


cdef class LoopClock:
    cdef object current_time
    cdef list monitors           # what moves their deadlines when the loop stood still
    cdef double looked
    cdef readonly double stood_still

    # The time, seconds. If the loop stood still since the last look, the monitors hear of it.
    cdef double look(self) except? -1.0
