"""Records of requests that are over, as bytes, until somebody takes them all; see buffer.pxd."""

cimport cython
from libc.math cimport llrint
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset


@cython.final
@cython.auto_pickle(False)
cdef class RecordBatch:

    def __dealloc__(self):
        free(self.data)

    def __len__(self):
        return self.count


@cython.final
@cython.auto_pickle(False)
cdef class RecordBuffer:
    """Keeps records until they are taken, but not more than there is room for.

    Whatever they tell of, they have 16 MiB at most.

    Args:
        capacity: records that are kept at most.
        batch: so many are worth to be taken at once.
        due: called with nothing when the first record has come, and when a batch has.
        lost: called with how many records were lost because the buffer was full.
    """

    def __cinit__(self, uint32_t capacity, uint32_t batch, due, lost):
        self.capacity = capacity
        self.batch = batch
        self.due = due
        self.lost = lost

    def __dealloc__(self):
        free(self.data)

    def __len__(self):
        return self.count

    def take(self):
        """All that is kept, as a RecordBatch; the buffer is empty then."""
        cdef RecordBatch taken = RecordBatch.__new__(RecordBatch)
        taken.data = self.data
        taken.length = self.end
        taken.count = self.count
        self.data = NULL
        self.size = self.end = 0
        self.count = 0
        return taken

    def add(
        self, *, double time, double duration, uint32_t status, uint64_t bytes_sent,
        uint64_t bytes_received, bytes client not None, bytes method not None,
        bytes target not None, bytes version not None, bytes request_id not None, bytes referer,
        bytes user_agent, bytes server, bytes ended not None, bytes reason, list attempts not None,
    ):
        """Keep a record; see trio_lb.observe.record. What is None is absent.

        Args:
            attempts: (server, outcome, duration, reused) of each, texts as bytes.
        """
        cdef Record record
        cdef Attempt *copies = NULL
        cdef Attempt *each
        cdef bytes name, outcome
        record.time = time
        record.duration = duration
        record.status = status
        record.bytes_sent = bytes_sent
        record.bytes_received = bytes_received
        record.parts[CLIENT] = text_of(client)
        record.parts[METHOD] = text_of(method)
        record.parts[TARGET] = text_of(target)
        record.parts[VERSION] = text_of(version)
        record.parts[REQUEST_ID] = text_of(request_id)
        record.parts[REFERER] = text_of(referer)
        record.parts[USER_AGENT] = text_of(user_agent)
        record.parts[SERVER] = text_of(server)
        record.parts[OUTCOME] = text_of(ended)
        record.parts[REASON] = text_of(reason)
        record.attempt_count = 0
        record.attempts = NULL
        if attempts:
            record.attempts = copies = <Attempt *> malloc(len(attempts) * sizeof(Attempt))
            if copies is NULL:
                raise MemoryError
        try:
            for name, outcome, duration_s, reused in attempts:
                if name is None or outcome is None:
                    raise TypeError("an attempt has a server and an outcome")
                each = &copies[record.attempt_count]
                each.server = text_of(name)
                each.outcome = text_of(outcome)
                each.duration = duration_s
                each.reused = reused
                record.attempt_count += 1
            self.keep(&record)
        finally:
            free(copies)

    cdef int keep(self, const Record *record) except -1:
        if self.count == self.capacity or not write_entry(self, record):
            self.lost(1)
            return 0
        self.count += 1
        if self.count == 1 or self.count == self.batch:
            self.due()
        return 0


cdef inline int64_t micros(double seconds) noexcept nogil:
    return llrint(seconds * 1e6)


cdef bint write_entry(RecordBuffer buffer, const Record *record) noexcept nogil:
    """False if there is no room."""
    cdef uint32_t number
    cdef size_t size = sizeof(Entry) + record.attempt_count * sizeof(AttemptEntry)
    cdef Entry *entry
    cdef AttemptEntry *attempts
    cdef char *out
    for number in range(<uint32_t> PARTS):
        size += record.parts[number].length
    for number in range(record.attempt_count):
        size += record.attempts[number].server.length + record.attempts[number].outcome.length
    size = (size + 7) & ~<size_t> 7
    if not have_room(buffer, size):
        return False
    entry = <Entry *> (buffer.data + buffer.end)
    attempts = <AttemptEntry *> (entry + 1)
    entry.size = size
    entry.time_us = micros(record.time)
    entry.duration_us = micros(record.duration)
    entry.bytes_sent = record.bytes_sent
    entry.bytes_received = record.bytes_received
    entry.status = record.status
    entry.attempt_count = record.attempt_count
    out = <char *> (attempts + record.attempt_count)
    for number in range(<uint32_t> PARTS):
        entry.lengths[number] = put_part(&out, &record.parts[number])
    for number in range(record.attempt_count):
        attempts[number].duration_us = micros(record.attempts[number].duration)
        attempts[number].reused = record.attempts[number].reused
        attempts[number].spare = 0
        attempts[number].server = put_words(&out, &record.attempts[number].server)
        attempts[number].outcome = put_words(&out, &record.attempts[number].outcome)
    buffer.end += size
    memset(out, 0, buffer.data + buffer.end - out)
    return True


cdef inline uint32_t put_part(char **out, const Text *part) noexcept nogil:
    return ABSENT if part.data is NULL else put_words(out, part)


cdef inline uint32_t put_words(char **out, const Text *part) noexcept nogil:
    """Its length, which is below MOST_ROOM."""
    memcpy(out[0], part.data, part.length)
    out[0] += part.length
    return <uint32_t> part.length


cdef inline bint have_room(RecordBuffer buffer, size_t size) noexcept nogil:
    cdef size_t wanted = max(buffer.size, <size_t> FIRST_ROOM)
    cdef char *data
    if size > <size_t> MOST_ROOM - buffer.end:
        return False
    while wanted < buffer.end + size:
        wanted *= 2
    if wanted != buffer.size:
        data = <char *> realloc(buffer.data, wanted)
        if data is NULL:
            return False
        buffer.data = data
        buffer.size = wanted
    return True
