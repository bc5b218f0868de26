"""The shared table of servers: slots taken, results recorded, counters read.

The memory map, who may write what, why a death at any moment leaves nothing behind, and the
C-level interface are in `_table.pxd`; the whole is explained in docs/shared-table.md.

A method that takes a slot raises IndexError for one without a server. Times are seconds of a
monotonic clock; one that is negative (after `epoch` was subtracted) or not finite raises
ValueError.

1. Making and checking a block      table_size, format_table, Table
2. Servers and their state          add, adjust, free, move
3. Connection slots                 acquire, release
4. Results                          answered, completed, failed
5. This process and its clients     enter, beat, client_opened, client_closed, client_refused,
                                    client_let_go, accepting_paused, request_ended, log_dropped
6. The dead                         retire
7. Reading                          read, quantile, work, clients, process, heartbeat_age
"""

import os

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport ceil
from libc.string cimport memset

ALIVE = <int> STATE_ALIVE
DEAD = <int> STATE_DEAD
DRAINING = <int> STATE_DRAINING

cdef enum:
    LAYOUT = 4                      # raised with every change of the memory map
    MAX_MICROS = 0xFFFFFFFF         # longest response time told apart: 71 minutes

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
    return sizeof(Header) + capacity * sizeof(Server) + rows * (
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


cdef int check_server(uint32_t weight, uint32_t max_connections) except -1:
    if not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"a weight is 1 to {MAX_WEIGHT}, not {weight}")
    if max_connections >= UNLIMITED:
        raise ValueError(f"a maximum is below {UNLIMITED} connections, not {max_connections}")
    return 0


@cython.final
@cython.auto_pickle(False)
cdef class Table:
    """A formatted block, seen as the process that has row number `row` and alone writes it.

    Row 0 is the owner's, who adds, changes and frees servers, brings them back to life and retires
    rows; where there is but one process it is that one's.

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
        self.own = self.header_of(self.row)
        self.counters = self.counters_of(self.row)
        self.histograms = self.histograms_of(self.row)
        self.sightings = self.sightings_of(self.row)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)        # does nothing for a view that was never got

    cdef RowHeader *header_of(self, uint32_t row) noexcept nogil:
        cdef char *rows = <char *> (self.servers + self.capacity)
        return <RowHeader *> (rows + row * row_bytes(self.capacity, self.rows))

    cdef Counters *counters_of(self, uint32_t row) noexcept nogil:
        return <Counters *> (self.header_of(row) + 1)

    cdef Histogram *histograms_of(self, uint32_t row) noexcept nogil:
        return <Histogram *> (self.counters_of(row) + self.capacity)

    cdef uint32_t *sightings_of(self, uint32_t row) noexcept nogil:
        return <uint32_t *> (self.histograms_of(row) + self.capacity)

    cdef Addresses *addresses_of(self, uint32_t row) noexcept nogil:
        return <Addresses *> self.header_of(self.rows) + row        # behind the last row

    cdef uint32_t now_ms(self, double now) except? 0xFFFFFFFF:
        """The time of a caller's clock as the table's milliseconds, modulo 2**32."""
        return <uint32_t> whole_ms(now - self.epoch)

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

    def __len__(self):
        """How many servers there are."""
        return len(self.slots())

    # 2. Servers and their state

    def slots(self):
        """The slots that have a server, in order."""
        cdef uint32_t slot
        return [slot for slot in range(self.capacity) if state_of(&self.servers[slot])]

    def add(self, uint32_t weight=1, uint32_t max_connections=0):
        """Add a server, ALIVE, and return its slot. `max_connections` 0 means any number.

        Raises:
            ValueError: a number out of range (weight 1 to 65535), or no room.
        """
        check_server(weight, max_connections)
        cdef uint32_t slot
        for slot in range(self.capacity):
            if not state_of(&self.servers[slot]):
                break
        else:
            raise ValueError(f"the table is full: {self.capacity} servers")
        cdef Server *server = &self.servers[slot]
        server.weight = weight
        server.limit = max_connections if max_connections else UNLIMITED
        server.generation += 1
        server.picked_ms = 0
        server.latency = 0
        store32(&server.state, server.state + 0x100 | STATE_ALIVE)      # a life of its own
        return slot

    def adjust(self, slot, uint32_t weight, uint32_t max_connections):
        """Change a server's weight and maximum; each process goes by them from its next pick on.

        With a maximum below what it has now, nothing more is let in until it has less.
        """
        check_server(weight, max_connections)
        cdef Server *server = &self.servers[self.slot_of(slot)]
        store32(&server.weight, weight)
        store32(&server.limit, max_connections if max_connections else UNLIMITED)

    def free(self, slot):
        """Empty a slot and forget its figures. To be called when no worker knows of it any more.

        Raises:
            RuntimeError: there is still something of it in a worker's row; nothing is changed.
        """
        cdef uint32_t at = self.slot_of(slot)
        cdef Counters *counters
        cdef uint32_t row
        if taken(load64(&self.servers[at].connections)):
            raise RuntimeError(f"slot {at} still has connections")
        for row in range(1, self.rows):
            counters = &self.counters_of(row)[at]
            if counters.served or counters.failed:
                raise RuntimeError(f"slot {at} is still known to the worker in row {row}")
        counters = &self.counters_of(0)[at]
        counters.served = counters.failed = counters.bytes_received = counters.bytes_sent = 0
        memset(&self.histograms_of(0)[at], 0, sizeof(Histogram))
        store32(&self.servers[at].state, self.servers[at].state & ~<uint32_t> 0xFF)

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

    def move(self, slot, uint32_t old, uint32_t new, *, tuple among=None):
        """Change a server's state from `old` to `new`; true for the one who did it.

        False when the state is not `old` (any more). With `among`, also false unless another of
        those slots is ALIVE, or while another process is doing the same: so that of the two last
        servers two processes can't take both. A server that was DEAD has lost its response time
        average and its failures in a row.
        """
        if not (STATE_ALIVE <= old <= STATE_DRAINING and STATE_ALIVE <= new <= STATE_DRAINING):
            raise ValueError(f"no such state: {old} or {new}")
        cdef uint32_t at = self.slot_of(slot)
        if among is None:
            return self.change_state(at, old, new)
        if not swap32(&self.header.taker, 0, self.row + 1):
            return False
        try:
            return self.another_alive(at, among) and self.change_state(at, old, new)
        finally:
            store32(&self.header.taker, 0)

    cdef bint another_alive(self, uint32_t slot, tuple among) except -1:
        cdef uint32_t at
        for other in among:
            at = self.slot_of(other)
            if at != slot and state_of(&self.servers[at]) == STATE_ALIVE:
                return True
        return False

    cdef bint change_state(self, uint32_t slot, uint32_t old, uint32_t new) noexcept nogil:
        cdef Server *server = &self.servers[slot]
        cdef uint32_t word = load32(&server.state)
        cdef uint32_t life = word & ~<uint32_t> 0xFF
        if word - life != old:
            return False
        if old == STATE_DEAD:
            # Whoever comes back was restarted or mended: what it was like before says nothing.
            store64(&server.latency, 0)
            life += 0x100
        return swap32(&server.state, word, life | new)

    # 3. Connection slots: the steps of `_table.pxd`

    cdef bint acquire_slot(self, uint32_t slot) noexcept nogil:
        """Take a connection slot; false when all are taken, also when that was this moment."""
        cdef Server *server = &self.servers[slot]
        cdef Counters *own = &self.counters[slot]
        cdef uint64_t seen = load64(&server.connections)
        cdef uint32_t number
        if taken(seen) >= load32(&server.limit):
            return False
        number = begin(own, False)
        while taken(seen) < load32(&server.limit):
            self.note_mark(slot, seen)
            if swap64(&server.connections, seen, marked(taken(seen) + 1, self.row, number)):
                store64(&own.held, <uint64_t> number << 32 | (<uint32_t> own.held + 1))
                return True
            seen = load64(&server.connections)
        return False        # what was begun stays so, to be found not to have happened

    cdef bint release_slot(self, uint32_t slot) noexcept nogil:
        """Give a slot back; false, and nothing changed, when this process holds none."""
        cdef Server *server = &self.servers[slot]
        cdef Counters *own = &self.counters[slot]
        cdef uint64_t seen
        cdef uint32_t number
        if not <uint32_t> own.held:
            return False
        number = begin(own, True)
        while True:
            seen = load64(&server.connections)
            self.note_mark(slot, seen)
            if swap64(&server.connections, seen, marked(taken(seen) - 1, self.row, number)):
                store64(&own.held, <uint64_t> number << 32 | (<uint32_t> own.held - 1))
                return True

    cdef void note_mark(self, uint32_t slot, uint64_t seen) noexcept nogil:
        """Leave word that somebody's operation has happened, whose mark may be overwritten now."""
        cdef uint32_t writer = mark_row(seen)
        if writer != self.row:
            store32(&self.sightings[slot * self.sightings_step + writer], mark_number(seen))

    def acquire(self, slot):
        """Take one of a server's connection slots, whatever its state; false when all are taken."""
        return self.acquire_slot(self.slot_of(slot))

    def release(self, slot):
        """Give a connection slot back.

        Raises:
            RuntimeError: this process holds none; nothing is changed.
        """
        if not self.release_slot(self.slot_of(slot)):
            raise RuntimeError(f"no connection of slot {slot} is held in row {self.row}")

    def connections(self, slot):
        """Connection slots taken by all processes together."""
        return taken(load64(&self.servers[self.slot_of(slot)].connections))

    # 4. Results

    cdef void record_answer(self, uint32_t slot, uint32_t now_ms, double micros) noexcept nogil:
        """A first response byte came after `micros`: 1 to MAX_MICROS, others are moved there."""
        micros = min(max(micros, 1.0), <double> MAX_MICROS)
        self.counters[slot].streak = 0
        add_own64(&self.histograms[slot].count[bucket_of(<uint32_t> micros)], 1)
        cdef uint64_t *word = &self.servers[slot].latency
        cdef uint64_t seen
        while True:
            seen = load64(word)
            if seen and <uint32_t> seen == now_ms:
                return      # of the answers of one millisecond the first one counts
            if swap64(word, seen, blend(seen, now_ms, micros)):
                return

    cdef void record_completion(
            self, uint32_t slot, uint64_t received, uint64_t sent) noexcept nogil:
        cdef Counters *counters = &self.counters[slot]
        add_own64(&counters.served, 1)
        add_own64(&counters.bytes_received, received)
        add_own64(&counters.bytes_sent, sent)

    cdef uint64_t record_failure(self, uint32_t slot) noexcept nogil:
        """Count a failure; how many there were in a row, in this process, with it."""
        cdef Counters *counters = &self.counters[slot]
        cdef uint32_t life = load32(&self.servers[slot].state) >> 8
        if counters.streak_life != life:
            counters.streak_life = life
            counters.streak = 0
        counters.streak += 1
        add_own64(&counters.failed, 1)
        return counters.streak

    def answered(self, slot, double now, double seconds):
        """Record a first response byte `seconds` after the request: ends the failures in a row.

        Raises:
            ValueError: `seconds` is negative or not a number.
        """
        if not seconds >= 0.0:
            raise ValueError(f"not a response time: {seconds}")
        self.record_answer(self.slot_of(slot), self.now_ms(now), seconds * 1e6)

    def completed(self, slot, uint64_t bytes_received, uint64_t bytes_sent):
        """Record a completed exchange."""
        self.record_completion(self.slot_of(slot), bytes_received, bytes_sent)

    def failed(self, slot):
        """Record a failure; how many in a row this process has seen, this one included."""
        return self.record_failure(self.slot_of(slot))

    # 5. This process and its clients

    def enter(self, uint32_t pid, double now):
        """Say which process has this row from now on, and that it is well."""
        self.own.incarnation += 1
        self.own.pid = pid
        self.beat(now)

    def beat(self, double now):
        """Show that this process is well."""
        store64(&self.own.heartbeat, whole_ms(now - self.epoch) + 1)

    def client_opened(self):
        """Count a client connection that was accepted."""
        add_own64(&self.own.clients, 1)
        add_own64(&self.own.clients_total, 1)

    def client_closed(self):
        """Count a client connection that has ended."""
        add_own64(&self.own.clients, <uint64_t> -1)

    def client_refused(self):
        """Count a client that was closed at once, since its address had too many connections."""
        add_own64(&self.own.refused, 1)

    def client_let_go(self):
        """Count an idle client connection that was closed early to make room for others."""
        add_own64(&self.own.let_go, 1)

    def accepting_paused(self):
        """Count a pause of accepting, for want of room."""
        add_own64(&self.own.pauses, 1)

    def request_ended(self, uint32_t status):
        """Count a request that is over, by its answer's status; 0 for no answer at all."""
        self.record_request(status)

    cdef void record_request(self, uint32_t status) noexcept nogil:
        add_own64(&self.own.ended[min(status // 100, <uint32_t> CLASSES - 1)], 1)

    def log_dropped(self, uint64_t entries):
        """Count access log entries that were lost."""
        add_own64(&self.own.log_dropped, entries)

    # 6. The dead

    def retire(self, row):
        """Settle what a dead worker left, for its row to be used again. For the owner.

        The connection slots that it held are given back. What it served and counted moves to row
        0, what it had in hand leaves the sums. The other workers go on meanwhile. The process must
        be dead, and have been waited for. Once more, it does nothing.

        Returns:
            How many connection slots were given back.

        Raises:
            ValueError: this is not the owner, or the row is.
        """
        cdef uint32_t dead = self.row_of(row)
        cdef uint32_t slot, given_back = 0
        cdef RowHeader *left = self.header_of(dead)
        cdef int status
        if self.row or not dead:
            raise ValueError(f"row {dead} can't be retired in row {self.row}")
        swap32(&self.header.taker, dead + 1, 0)
        for slot in range(self.capacity):
            given_back += self.give_back(dead, slot)
            self.take_over(dead, slot)
        self.own.clients_total += left.clients_total
        for status in range(CLASSES):
            self.own.ended[status] += left.ended[status]
            left.ended[status] = 0
        self.own.log_dropped += left.log_dropped
        self.own.refused += left.refused
        self.own.let_go += left.let_go
        self.own.pauses += left.pauses
        left.heartbeat = left.pid = left.clients = left.clients_total = left.log_dropped = 0
        left.places = left.wanting = left.refused = left.let_go = left.pauses = 0
        if left.addressed:
            memset(self.addresses_of(dead), 0, sizeof(Addresses))
            left.addressed = 0
        return given_back

    cdef bint happened(self, uint32_t row, uint32_t slot, uint32_t number) noexcept nogil:
        """Whether a dead process's last operation on a server reached `connections`."""
        cdef uint64_t word = load64(&self.servers[slot].connections)    # before the sightings
        cdef uint32_t other
        if mark_row(word) == row and mark_number(word) == number:
            return True
        for other in range(self.rows):
            if load32(&self.sightings_of(other)[slot * self.sightings_step + row]) == number:
                return True
        return False

    cdef uint32_t give_back(self, uint32_t row, uint32_t slot) noexcept nogil:
        """Give back what a dead process held of a server; how much that was.

        The mark in `connections` stays, since others may still need it.
        """
        cdef Counters *left = &self.counters_of(row)[slot]
        cdef uint64_t *connections = &self.servers[slot].connections
        cdef uint32_t count = <uint32_t> left.held
        cdef uint32_t number = left.begun >> 1
        cdef uint64_t seen
        if number != left.held >> 32 and self.happened(row, slot, number):
            count = count - 1 if left.begun & 1 else count + 1
        seen = load64(connections)
        while count and not swap64(connections, seen, seen - count):
            seen = load64(connections)
        store64(&left.held, <uint64_t> number << 32)
        return count

    cdef void take_over(self, uint32_t row, uint32_t slot) noexcept nogil:
        """Move a dead process's figures of a server to row 0."""
        cdef Counters *left = &self.counters_of(row)[slot]
        cdef Counters *own = &self.counters[slot]
        cdef Histogram *histogram = &self.histograms_of(row)[slot]
        cdef int bucket
        if not left.served and not left.failed and left.begun == 0:
            return      # never touched: neither are the lines of its histogram
        own.served += left.served
        own.failed += left.failed
        own.bytes_received += left.bytes_received
        own.bytes_sent += left.bytes_sent
        left.served = left.failed = left.bytes_received = left.bytes_sent = 0
        left.streak = 0
        for bucket in range(BUCKETS):
            self.histograms[slot].count[bucket] += histogram.count[bucket]
            histogram.count[bucket] = 0

    # 7. Reading; `row` None means the sum of all

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

    def work(self, row=None):
        """Connection slots held and exchanges completed, of all servers together."""
        cdef uint64_t active = 0, served = 0
        cdef Counters *counters
        cdef uint32_t slot
        for number in self.rows_named(row):
            counters = self.counters_of(number)
            for slot in range(self.capacity):
                active += <uint32_t> load64(&counters[slot].held)
                served += counters[slot].served
        return active, served

    def clients(self, row=None):
        """What was counted of clients: connections and requests.

        Returns:
            Connections open, those ever accepted, a tuple of the requests ended by status class
            (no answer, 1xx, ... 5xx), access log entries lost, connections refused, idle ones let
            go, and pauses of accepting.
        """
        cdef uint64_t opened = 0, total = 0, dropped = 0, refused = 0, let_go = 0, pauses = 0
        cdef RowHeader *header
        cdef int status
        ended = [0] * CLASSES
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
        return opened, total, tuple(ended), dropped, refused, let_go, pauses

    def process(self, row):
        """Process id (0: none) and incarnation of whoever has a row."""
        cdef RowHeader *header = self.header_of(self.row_of(row))
        return header.pid, header.incarnation

    def heartbeat_age(self, row, double now):
        """Seconds since the process in a row last showed that it is well; None: never yet."""
        cdef uint64_t heartbeat = load64(&self.header_of(self.row_of(row)).heartbeat)
        cdef uint64_t now_ms = whole_ms(now - self.epoch) + 1
        if not heartbeat:
            return None
        return (now_ms - heartbeat) / 1e3 if heartbeat < now_ms else 0.0

    cdef object rows_named(self, object row):
        return range(self.rows) if row is None else (self.row_of(row),)


cdef uint32_t begin(Counters *own, bint release) noexcept nogil:
    """Step 1 of taking and giving back a slot: its number, never 0."""
    cdef uint32_t number = own.begun >> 1
    number = number + 1 if number < MAX_NUMBER else 1
    store32(&own.begun, number << 1 | release)
    return number


cdef uint64_t blend(uint64_t word, uint32_t now_ms, double micros) noexcept nogil:
    """The latency word after one more sample.

    The old average keeps the weight to which it decayed since its own last sample. So the weight
    of the past depends on time alone and not on how many samples it had, and a sample after a
    long pause replaces it nearly wholly.
    """
    cdef double average = micros, kept
    if word:
        kept = decay(age_ms(now_ms, <uint32_t> word))
        average = kept * float_from(<uint32_t> (word >> 32)) + (1.0 - kept) * micros
    return (<uint64_t> float_bits(<float> average) << 32) | now_ms


cdef uint32_t bucket_of(uint32_t micros) noexcept nogil:
    """Histogram bucket of a response time: four per octave; one per microsecond below 4.

    A bucket's middle is at most 12.5 % off any time in it (from 4 µs on), up to 71 minutes.
    """
    cdef uint32_t octave = 0
    cdef uint32_t rest = micros
    while rest > 7:
        rest >>= 1
        octave += 1
    return 4 * octave + rest


cdef uint64_t floor_of(uint32_t bucket) noexcept nogil:
    """Shortest response time of a bucket, in microseconds; of the next bucket: its open end."""
    cdef uint32_t octave = bucket // 4 - 1 if bucket > 7 else 0
    return <uint64_t> (bucket - 4 * octave) << octave
