"""Permits for client connections: how many there may be, over all processes and for an address.

Each process counts what it lets in in its own row of the table, then adds up all rows to see
whether that was one too many. It writes before it reads, with a full barrier in between; so of two
processes that take the last place at one moment at least one sees the other, and there never is
one too many. Both may see each other, and both give way: the next one who comes gets the place. No
word has two writers, so what a dead process had counted leaves with its row.

There are too many addresses for a counter each, so they share some, as in a count-min sketch
(Cormode and Muthukrishnan, 2005): an address has one of WIDTH counters in each of DEPTH lines, and
has at most as many connections as the lowest of its counters says. None can have more than it may;
one that has fewer is refused only if others fill all its counters. With n connections of others,
its count is too high by n / WIDTH or less, nearly always.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset


@cython.final
@cython.auto_pickle(False)
cdef class Permits:
    """The places of this process, which are those of the table's row.

    Args:
        table: as this process sees it.
    """

    cdef Table table

    def __cinit__(self, Table table not None):
        self.table = table

    @property
    def taken(self):
        """Permits taken by this process."""
        return self.table.own.places

    def take(self, uint64_t most):
        """Take a place; false, and none is taken, when all processes together have `most`."""
        cdef RowHeader *own = self.table.own
        cdef uint64_t total = 0
        cdef uint32_t row
        store32(&own.places, own.places + 1)
        barrier()
        for row in range(self.table.rows):
            total += load32(&self.table.header_of(row).places)
        if total <= most:
            return True
        store32(&own.places, own.places - 1)
        return False

    def give_back(self):
        """Give back what `take` took.

        Raises:
            RuntimeError: this process has no place; nothing is changed.
        """
        cdef RowHeader *own = self.table.own
        if not own.places:
            raise RuntimeError(f"no place is taken in row {self.table.row}")
        store32(&own.places, own.places - 1)

    def take_for(self, uint64_t address, uint64_t most):
        """Count a connection of an address; false, and none is counted, when it has `most`.

        Args:
            address: any number that stands for it.
            most: over all processes.
        """
        cdef uint32_t[DEPTH] chosen
        self.choose(address, chosen)
        store32(&self.table.own.addressed, 1)
        self.add(chosen, 1)
        barrier()
        if self.count(chosen) <= most:
            return True
        self.add(chosen, -1)
        return False

    def give_back_for(self, uint64_t address):
        """Count one less, which `take_for` has counted.

        Raises:
            RuntimeError: this process has counted none; nothing is changed.
        """
        cdef uint32_t[DEPTH] chosen
        cdef int line
        self.choose(address, chosen)
        for line in range(DEPTH):
            if not self.table.addresses_of(self.table.row).count[line][chosen[line]]:
                raise RuntimeError(f"no connection is counted there in row {self.table.row}")
        self.add(chosen, -1)

    cdef void choose(self, uint64_t address, uint32_t *chosen) noexcept nogil:
        """The counters of an address: one in each line."""
        cdef uint64_t bits = mixed(address ^ self.table.header.seed)
        cdef int line
        for line in range(DEPTH):
            chosen[line] = <uint32_t> bits & (WIDTH - 1)
            bits >>= 16

    cdef void add(self, const uint32_t *chosen, int n) noexcept nogil:
        cdef Addresses *own = self.table.addresses_of(self.table.row)
        cdef int line
        for line in range(DEPTH):
            store32(&own.count[line][chosen[line]], own.count[line][chosen[line]] + n)

    cdef uint64_t count(self, const uint32_t *chosen) noexcept nogil:
        """What the lowest counter says, all rows together that have anything to say."""
        cdef uint64_t[DEPTH] sums
        cdef uint64_t lowest
        cdef uint32_t row
        cdef int line
        memset(sums, 0, sizeof(sums))
        for row in range(self.table.rows):
            if load32(&self.table.header_of(row).addressed):
                for line in range(DEPTH):
                    sums[line] += load32(&self.table.addresses_of(row).count[line][chosen[line]])
        lowest = sums[0]
        for line in range(1, DEPTH):
            lowest = min(lowest, sums[line])
        return lowest

    def want(self, double now):
        """Tell the other processes that clients wait here for a permit."""
        store64(&self.table.own.wanting, whole_ms(now - self.table.epoch) + 1)

    def wanted(self, double now, double within):
        """Whether another process has told so within so many seconds."""
        cdef uint64_t now_ms = whole_ms(now - self.table.epoch) + 1
        cdef uint64_t age_ms = whole_ms(within)
        cdef uint64_t wanting
        cdef uint32_t row
        for row in range(self.table.rows):
            wanting = load64(&self.table.header_of(row).wanting)
            if row != self.table.row and wanting and wanting + age_ms >= now_ms:
                return True
        return False


cdef uint64_t mixed(uint64_t bits) noexcept nogil:
    """Every bit depends on every bit (splitmix64, Steele, Lea and Flood 2014)."""
    bits = (bits ^ (bits >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    bits = (bits ^ (bits >> 27)) * <uint64_t> 0x94D049BB133111EB
    return bits ^ (bits >> 31)
