"""Records of requests that are over, as bytes, until somebody takes them all: C-level interface.

An entry in such a buffer is

    Entry
    AttemptEntry    [attempts]
    their texts     client, method ... reason; then of each attempt the server and the outcome

and zeros up to a multiple of eight bytes. Nothing in it points to anything, so that a buffer can be
read when all that it tells of is gone, by any thread.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    FIRST_ROOM = 64 * 1024      # bytes of a buffer when something is put in
    MOST_ROOM = 16 * 1024 * 1024
    ABSENT = 0xFFFFFFFF         # length of a text that isn't there

cdef enum:                      # the texts of a record
    CLIENT
    METHOD
    TARGET
    VERSION
    REQUEST_ID
    REFERER
    USER_AGENT
    SERVER
    OUTCOME
    REASON
    PARTS                       # how many there are

cdef struct Text:               # bytes of somebody else's
    const char *data            # NULL: it is absent
    size_t length

cdef struct Attempt:
    double duration             # seconds, like those of a Record
    bint reused
    Text server
    Text outcome

cdef struct Record:             # what an entry is made from; see trio_lb.observe.record
    double time                 # when its first byte came, seconds since the epoch
    double duration
    uint32_t status
    uint64_t bytes_sent
    uint64_t bytes_received
    Text parts[PARTS]
    const Attempt *attempts
    uint32_t attempt_count

cdef struct Entry:
    uint64_t size               # of all of it
    int64_t time_us
    int64_t duration_us
    uint64_t bytes_sent
    uint64_t bytes_received
    uint32_t status
    uint32_t attempt_count
    uint32_t lengths[PARTS]

cdef struct AttemptEntry:
    int64_t duration_us
    uint32_t server             # length of its name
    uint32_t outcome
    uint32_t reused
    uint32_t spare


cdef class RecordBatch:
    """What was in a buffer."""
    cdef char *data
    cdef size_t length
    cdef readonly uint32_t count


cdef class RecordBuffer:
    cdef char *data             # NULL: nothing is in it
    cdef size_t size
    cdef size_t end
    cdef uint32_t count
    cdef uint32_t capacity      # entries
    cdef uint32_t batch
    cdef object due
    cdef object lost

    # Keep a record, or lose it if there is no room. Python is called for the first one, for one
    # that makes a batch full, and for one that is lost.
    cdef int keep(self, const Record *record) except -1


cdef inline Text text(const char *data, size_t length) noexcept nogil:
    cdef Text made
    made.data = data
    made.length = length
    return made


cdef inline Text text_of(bytes data) noexcept:
    """Borrowed: `data` has to outlive it."""
    if data is None:
        return text(NULL, 0)
    return text(PyBytes_AS_STRING(data), <size_t> PyBytes_GET_SIZE(data))
