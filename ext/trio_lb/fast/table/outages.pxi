"""What processes tell each other about servers that are down: that one is, why, and who lacks one.

A reason belongs to one of its server's lives: once the server has come back it is nobody's. Two
processes never write one at the same time: who finds another at it leaves it alone. What a process
was writing when it died is not read, and its claim ends when its row is retired.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy


@cython.final
@cython.auto_pickle(False)
cdef class Outages:
    """The outages of servers, seen by the process that has the table's row.

    Args:
        table: as this process sees it.
    """

    cdef Table table

    def __cinit__(self, Table table not None):
        self.table = table

    @property
    def changes(self):
        """Another number after every change of a server's state, by whichever process."""
        return load32(&self.table.header.changes)

    def want(self, double now):
        """Tell whoever checks servers that a request waits for one to come back."""
        store64(&self.table.header.wanted, whole_ms(now - self.table.epoch) + 1)

    def wanted(self, double now, double within):
        """Whether any process has told so within so many seconds."""
        cdef uint64_t wanted = load64(&self.table.header.wanted)
        return wanted != 0 and wanted + whole_ms(within) >= whole_ms(now - self.table.epoch) + 1

    def explain(self, slot, bytes text not None, bint ejected=False):
        """Note why a server is down, for the life that it is in; longer texts are cut.

        `ejected`: it was marked down for failed requests.
        """
        cdef uint32_t at = self.table.slot_of(slot)
        cdef Reason *reason = &self.table.reasons[at]
        cdef uint32_t life = load32(&self.table.servers[at].state) >> 8
        cdef uint32_t length = <uint32_t> min(<Py_ssize_t> len(text), <Py_ssize_t> MAX_REASON)
        cdef const char *data = text
        if not swap32(&reason.writer, 0, self.table.row + 1):
            return
        store32(&reason.version, reason.version | 1)
        barrier()
        reason.life = life
        reason.length = length
        reason.ejected = ejected
        memcpy(reason.text, data, length)
        store32(&reason.version, reason.version + 1)
        store32(&reason.writer, 0)

    def reason(self, slot):
        """What was noted last about a server in its present life; None if nothing was."""
        cdef Reason reason
        if not self.read(self.table.slot_of(slot), &reason):
            return None
        return reason.text[:min(reason.length, <uint32_t> MAX_REASON)]

    def ejected(self, slot):
        """Whether it was noted that a server was ejected, for failed requests, in this life."""
        cdef Reason reason
        return self.read(self.table.slot_of(slot), &reason) and reason.ejected != 0

    cdef bint read(self, uint32_t at, Reason *copy) noexcept:
        """Copy what was noted; false if there is nothing whole, or of this life."""
        cdef Reason *reason = &self.table.reasons[at]
        cdef uint32_t version = load32(&reason.version)
        memcpy(copy, reason, sizeof(Reason))
        barrier()
        return (
            version and not version % 2 and load32(&reason.version) == version
            and copy.life == load32(&self.table.servers[at].state) >> 8)
