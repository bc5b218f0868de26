"""The block of memory that the shared table is: made, checked, and read.

What is where in it, and who may write what, is in `block.pxd`. Whoever writes is a `Table`.

1. Making and checking a block      table_size, format_table, Block
2. Where things are
3. Reading servers                  slots, generation, alive, state, life, connections, read,
                                    quantile
4. Reading processes                work, clients, process, heartbeat_age
"""

import os

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport ceil
from libc.string cimport memset

cdef enum:
    LAYOUT = 11                     # raised with every change of the memory map

cdef uint64_t MAGIC = 0x0062_6C2D_6F69_7274     # "trio-lb\0" in little-endian memory


# 1. Making and checking a block

cdef uint64_t sightings_step(uint64_t rows) noexcept nogil:
    """Sightings per server in one row: one of each row, filled up to whole lines."""
    cdef uint64_t per_line = LINE // sizeof(uint32_t)
    return (rows + per_line - 1) // per_line * per_line


cdef uint64_t row_bytes(uint64_t capacity, uint64_t rows) noexcept nogil:
    return sizeof(RowHeader) + capacity * (
        sizeof(Counters) + sizeof(Histogram) + sightings_step(rows) * sizeof(uint32_t))


cdef uint64_t block_bytes(uint64_t capacity, uint64_t rows) noexcept nogil:
    return sizeof(Header) + capacity * (sizeof(Server) + sizeof(Reason)) + rows * (
        row_bytes(capacity, rows) + sizeof(Addresses))


def table_size(Py_ssize_t servers, Py_ssize_t rows=1):
    """Bytes of a table with room for `servers` (1 to 65536) and with `rows` (1 to 4096)."""
    if not 1 <= servers <= MAX_SERVERS:
        raise ValueError(f"a table has 1 to {MAX_SERVERS} servers, not {servers}")
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"a table has 1 to {MAX_ROWS} rows, not {rows}")
    return block_bytes(servers, rows)


cdef int open_block(object buffer, Py_buffer *view) except -1:
    """Get a writable view of `buffer` that can hold a header, or raise ValueError."""
    PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE)
    reason = None
    if <size_t> view.buf % LINE:
        reason = f"not aligned to {LINE} bytes"
    elif <size_t> view.len < sizeof(Header):
        reason = f"only {view.len} bytes long"
    if reason is not None:
        PyBuffer_Release(view)
        raise ValueError(f"not a table: {reason}")
    return 0


def format_table(object buffer, Py_ssize_t servers, Py_ssize_t rows=1):
    """Make an empty table in `buffer`, which must be writable, aligned to 64 bytes, and all zeros.

    Fresh memory of the system is that, and takes no room until it is written to: a table with room
    for many servers and workers costs no more than those that there are.

    Raises:
        ValueError: too short, not aligned, in use already, or a number out of range.
    """
    cdef Py_buffer view
    cdef uint64_t size = table_size(servers, rows)
    cdef Header *header
    open_block(buffer, &view)
    try:
        if <uint64_t> view.len < size:
            raise ValueError(f"a table of this size needs {size} bytes, not {view.len}")
        header = <Header *> view.buf
        if load64(&header.magic):
            raise ValueError("there is something in this memory already")
        header.layout = LAYOUT
        header.capacity = <uint32_t> servers
        header.rows = <uint32_t> rows
        header.size = size
        header.seed = int.from_bytes(os.urandom(8))
        memset(header.cursors, 0xFF, sizeof(header.cursors))
        store64(&header.magic, MAGIC)       # last: what has it is complete
    finally:
        PyBuffer_Release(&view)


cdef object flaw(const Header *header, uint64_t length, Py_ssize_t row):
    """What keeps a block from being a table that this code may touch; None if nothing does."""
    if load64(&header.magic) != MAGIC:
        return "it does not begin like one"
    if header.layout != LAYOUT:
        return f"its layout is {header.layout}, this program's is {LAYOUT}"
    if not (1 <= header.capacity <= MAX_SERVERS and 1 <= header.rows <= MAX_ROWS
            and header.size == block_bytes(header.capacity, header.rows)):
        return "its header contradicts itself"
    if length < header.size:
        return f"it is cut off after {length} of {header.size} bytes"
    if not 0 <= row < header.rows:
        return f"it has {header.rows} rows, none with number {row}"
    return None


@cython.auto_pickle(False)
cdef class Block:
    """A formatted block, for the process that has row number `row`, which only reads it here.

    A method that takes a slot raises IndexError for one without a server. Where `row` is None, the
    sum of all rows is meant.

    Attributes:
        capacity: how many servers there is room for. `len()` is how many there are.
        rows: how many rows there are.
        row: which one is ours.
        epoch: subtracted from every time that is passed in, in seconds.

    Raises:
        ValueError: `buffer` is no table of this layout, cut off, or has no such row.
    """

    def __cinit__(self, object buffer, Py_ssize_t row=0, double epoch=0.0):
        open_block(buffer, &self.view)
        self.header = <Header *> self.view.buf
        reason = flaw(self.header, self.view.len, row)
        if reason is not None:
            raise ValueError(f"not a table: {reason}")      # __dealloc__ releases the view
        self.capacity = self.header.capacity
        self.rows = self.header.rows
        self.row = <uint32_t> row
        self.epoch = epoch
        self.sightings_step = sightings_step(self.rows)
        self.servers = <Server *> (self.header + 1)
        self.reasons = <Reason *> (self.servers + self.capacity)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)        # does nothing for a view that was never got

    # 2. Where things are

    cdef RowHeader *header_of(self, uint32_t row) noexcept nogil:
        cdef char *rows = <char *> (self.reasons + self.capacity)
        return <RowHeader *> (rows + row * row_bytes(self.capacity, self.rows))

    cdef Counters *counters_of(self, uint32_t row) noexcept nogil:
        return <Counters *> (self.header_of(row) + 1)

    cdef Histogram *histograms_of(self, uint32_t row) noexcept nogil:
        return <Histogram *> (self.counters_of(row) + self.capacity)

    cdef uint32_t *sightings_of(self, uint32_t row) noexcept nogil:
        return <uint32_t *> (self.histograms_of(row) + self.capacity)

    cdef Addresses *addresses_of(self, uint32_t row) noexcept nogil:
        return <Addresses *> self.header_of(self.rows) + row        # behind the last row

    cdef uint64_t now_ms(self, double now) except? 0xFFFFFFFFFFFFFFFF:
        """The time of a caller's clock as the table's milliseconds."""
        return whole_ms(now - self.epoch)

    cdef uint32_t slot_of(self, object slot) except? 0xFFFFFFFF:
        cdef Py_ssize_t number = slot
        if not (0 <= number < self.capacity and state_of(&self.servers[number])):
            raise IndexError(f"no server in slot {number} of {self.capacity}")
        return <uint32_t> number

    cdef uint32_t row_of(self, object row) except? 0xFFFFFFFF:
        cdef Py_ssize_t number = row
        if not 0 <= number < self.rows:
            raise IndexError(f"no row {number}: there are {self.rows}")
        return <uint32_t> number

    cdef object rows_named(self, object row):
        """The rows to be looked at: those that no process ever had take no memory, and stay so."""
        if row is not None:
            return (self.row_of(row),)
        return range(min(load32(&self.header.rows_used), self.rows))

    # 3. Reading servers

    def __len__(self):
        """How many servers there are."""
        return len(self.slots())

    def slots(self):
        """The slots that have a server, in order."""
        cdef uint32_t slot
        return [slot for slot in range(self.capacity) if state_of(&self.servers[slot])]

    def generation(self, slot):
        """How many servers have had this slot so far, with the one that is there."""
        return self.servers[self.slot_of(slot)].generation

    @property
    def alive(self):
        """How many servers are ALIVE."""
        cdef uint32_t slot, alive = 0
        for slot in range(self.capacity):
            alive += state_of(&self.servers[slot]) == STATE_ALIVE
        return alive

    def state(self, slot):
        """ALIVE, DEAD or DRAINING."""
        return state_of(&self.servers[self.slot_of(slot)])

    def life(self, slot):
        """How often a server, or another one before in this slot, has come to life so far."""
        return load32(&self.servers[self.slot_of(slot)].state) >> 8

    def connections(self, slot):
        """Connection slots taken by all processes together."""
        return taken(load64(&self.servers[self.slot_of(slot)].connections))

    def read(self, slot, row=None):
        """What is known of a server; active to bytes_sent: in that row.

        Returns:
            state, active, served, failed, bytes_received, bytes_sent, response time average in
            seconds or None, weight, max_connections.
        """
        cdef uint32_t at = self.slot_of(slot)
        cdef uint64_t active = 0, served = 0, failed = 0, received = 0, sent = 0
        cdef Counters *counters
        for number in self.rows_named(row):
            counters = &self.counters_of(number)[at]
            active += <uint32_t> load64(&counters.held)
            served += counters.served
            failed += counters.failed
            received += counters.bytes_received
            sent += counters.bytes_sent
        cdef Server *server = &self.servers[at]
        cdef uint64_t word = load64(&server.latency)
        cdef uint32_t limit = load32(&server.limit)
        return (
            state_of(server), active, served, failed, received, sent,
            float_from(<uint32_t> (word >> 32)) / 1e6 if word else None,
            load32(&server.weight),
            0 if limit == UNLIMITED else limit,
        )

    def quantile(self, slot, double q, row=None):
        """Response time in seconds not exceeded by a share `q` (0 < q <= 1) of all answers.

        Within 12.5 % from 4 µs to 71 minutes, where the scale ends. None without answers.
        """
        if not 0.0 < q <= 1.0:
            raise ValueError(f"a quantile is above 0 and at most 1, not {q}")
        cdef uint32_t at = self.slot_of(slot)
        cdef uint64_t[BUCKETS] total
        cdef Histogram *histogram
        cdef uint64_t samples = 0
        cdef int bucket
        memset(total, 0, sizeof(total))
        for number in self.rows_named(row):
            if number and untouched(&self.counters_of(number)[at]):
                continue        # row 0 may have only what the dead had in hand
            histogram = &self.histograms_of(number)[at]
            for bucket in range(BUCKETS):
                total[bucket] += histogram.count[bucket]
        for bucket in range(BUCKETS):
            samples += total[bucket]
        if samples == 0:
            return None
        cdef uint64_t rank = <uint64_t> ceil(q * samples)
        for bucket in range(BUCKETS):
            if rank <= total[bucket]:
                break
            rank -= total[bucket]
        return (floor_of(bucket) + floor_of(bucket + 1)) / 2.0 / 1e6

    # 4. Reading processes

    def work(self, row=None):
        """Connection slots held and exchanges completed, of all servers together."""
        cdef uint64_t active = 0, served = 0
        cdef Counters *counters
        cdef uint32_t slot
        for number in self.rows_named(row):
            counters = self.counters_of(number)
            served += self.header_of(number).served_before
            for slot in range(self.capacity):
                active += <uint32_t> load64(&counters[slot].held)
                served += counters[slot].served
        return active, served

    def clients(self, row=None):
        """What was counted of clients: connections and requests.

        Returns:
            Connections open, those ever accepted, a tuple of the requests ended by status class
            (no answer, 1xx, ... 5xx), access log entries lost, connections refused, idle ones let
            go, pauses of accepting, and a tuple of the requests served on the slow path by reason.
        """
        cdef uint64_t opened = 0, total = 0, dropped = 0, refused = 0, let_go = 0, pauses = 0
        cdef RowHeader *header
        cdef int status, reason
        ended = [0] * CLASSES
        slow = [0] * REASONS
        for number in self.rows_named(row):
            header = self.header_of(number)
            opened += header.clients
            total += header.clients_total
            dropped += header.log_dropped
            refused += header.refused
            let_go += header.let_go
            pauses += header.pauses
            for status in range(CLASSES):
                ended[status] += header.ended[status]
            for reason in range(REASONS):
                slow[reason] += header.slow[reason]
        return opened, total, tuple(ended), dropped, refused, let_go, pauses, tuple(slow)

    def process(self, row):
        """Process id (0: none) and incarnation of whoever has a row."""
        cdef RowHeader *header = self.header_of(self.row_of(row))
        return header.pid, header.incarnation

    def heartbeat_age(self, row, double now):
        """Seconds since the process in a row last showed a heartbeat; None: never yet."""
        cdef uint64_t heartbeat = load64(&self.header_of(self.row_of(row)).heartbeat)
        cdef uint64_t now_ms = whole_ms(now - self.epoch) + 1
        if not heartbeat:
            return None
        return (now_ms - heartbeat) / 1e3 if heartbeat < now_ms else 0.0


cdef uint64_t floor_of(uint32_t bucket) noexcept nogil:
    """Shortest response time of a bucket, in microseconds; of the next bucket: its open end."""
    cdef uint32_t octave = bucket // 4 - 1 if bucket > 7 else 0
    return <uint64_t> (bucket - 4 * octave) << octave
