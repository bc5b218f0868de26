"""What a dead process left in the shared table: C-level interface."""

from libc.stdint cimport uint32_t


# Give back the connection slots that the process of row `dead` held, and move what it served and
# counted to row 0. Returns how many slots that were. Only for the owner, and once the process was
# waited for.
cdef uint32_t settle_row(Block block, uint32_t dead) noexcept nogil
