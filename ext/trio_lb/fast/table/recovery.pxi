"""What a dead process left in the shared table: settled, while the others go on.

Why what is found is enough to know what happened is in `block.pxd` and docs/shared-table.md.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset


cdef uint32_t settle_row(Block block, uint32_t dead) noexcept nogil:
    cdef RowHeader *own = block.header_of(0)
    cdef RowHeader *left = block.header_of(dead)
    cdef uint32_t slot, given_back = 0
    cdef int status
    swap32(&block.header.taker, dead + 1, 0)
    for slot in range(block.capacity):
        swap32(&block.reasons[slot].writer, dead + 1, 0)
        given_back += give_back(block, dead, slot)
        take_over(block, dead, slot)
    own.clients_total += left.clients_total
    own.served_before += left.served_before
    left.served_before = 0
    for status in range(CLASSES):
        own.ended[status] += left.ended[status]
        left.ended[status] = 0
    for reason in range(REASONS):
        own.slow[reason] += left.slow[reason]
        left.slow[reason] = 0
    own.log_dropped += left.log_dropped
    own.refused += left.refused
    own.let_go += left.let_go
    own.pauses += left.pauses
    left.heartbeat = left.pid = left.clients = left.clients_total = left.log_dropped = 0
    left.places = left.wanting = left.refused = left.let_go = left.pauses = 0
    if left.addressed:
        memset(block.addresses_of(dead), 0, sizeof(Addresses))
        left.addressed = 0
    return given_back


cdef bint happened(Block block, uint32_t row, uint32_t slot, uint32_t number) noexcept nogil:
    """Whether a dead process's last operation on a server reached `connections`."""
    cdef uint64_t word = load64(&block.servers[slot].connections)   # before the sightings
    cdef uint32_t other
    if mark_row(word) == row and mark_number(word) == number:
        return True
    for other in range(block.rows):
        if load32(&block.sightings_of(other)[slot * block.sightings_step + row]) == number:
            return True
    return False


cdef uint32_t give_back(Block block, uint32_t row, uint32_t slot) noexcept nogil:
    """Give back what a dead process held of a server; how much that was.

    The mark in `connections` stays, since others may still need it.
    """
    cdef Counters *left = &block.counters_of(row)[slot]
    cdef uint64_t *connections = &block.servers[slot].connections
    cdef uint32_t count = <uint32_t> left.held
    cdef uint32_t number = left.begun >> 1
    cdef uint64_t seen
    if number != left.held >> 32 and happened(block, row, slot, number):
        count = count - 1 if left.begun & 1 else count + 1
    seen = load64(connections)
    while count and not swap64(connections, seen, seen - count):
        seen = load64(connections)
    store64(&left.held, <uint64_t> number << 32)
    return count


cdef void take_over(Block block, uint32_t row, uint32_t slot) noexcept nogil:
    """Move a dead process's figures of a server to row 0."""
    cdef Counters *left = &block.counters_of(row)[slot]
    cdef Counters *own = &block.counters_of(0)[slot]
    cdef Histogram *histogram = &block.histograms_of(row)[slot]
    cdef Histogram *into = &block.histograms_of(0)[slot]
    cdef int bucket
    if untouched(left):
        return      # never touched: neither are the lines of its histogram
    own.served += left.served
    own.failed += left.failed
    own.bytes_received += left.bytes_received
    own.bytes_sent += left.bytes_sent
    left.served = left.failed = left.bytes_received = left.bytes_sent = 0
    left.streak = left.answers[0] = left.answers[1] = 0
    for bucket in range(BUCKETS):
        into.count[bucket] += histogram.count[bucket]
        histogram.count[bucket] = 0
