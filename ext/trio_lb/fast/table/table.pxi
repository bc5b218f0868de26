"""The shared table of servers, as a process writes it: slots taken, results recorded.

The memory map, who may write what and why a death at any moment leaves nothing behind are in
`block.pxd`, the C-level interface in `table.pxd`; the whole is explained in docs/shared-table.md.

A method that takes a slot raises IndexError for one without a server. Times are seconds of a
monotonic clock; one that is negative (after `epoch` was subtracted) or not finite raises
ValueError.

1. Servers and their state          add, adjust, free, move
2. Connection slots                 acquire, release
3. Results                          answered, completed, failed
4. This process and its clients     enter, beat, client_opened, client_closed, client_refused,
                                    client_let_go, accepting_paused, request_ended,
                                    took_slow_path, log_dropped
5. The dead                         retire
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset


ALIVE = <int> STATE_ALIVE
DEAD = <int> STATE_DEAD
DRAINING = <int> STATE_DRAINING

cdef enum:
    MAX_MICROS = 0xFFFFFFFF         # longest response time told apart: 71 minutes


cdef int check_server(uint32_t weight, uint32_t max_connections) except -1:
    if not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"a weight is 1 to {MAX_WEIGHT}, not {weight}")
    if max_connections >= UNLIMITED:
        raise ValueError(f"a maximum is below {UNLIMITED} connections, not {max_connections}")
    return 0


@cython.final
@cython.auto_pickle(False)
cdef class Table(Block):
    """A formatted block, seen as the process that has row number `row` and alone writes it.

    Row 0 is the owner's, who adds, changes and frees servers, marks them up and retires
    rows; where there is but one process it is that one's. Attributes and errors are those of Block.
    """

    def __cinit__(self):
        self.own = self.header_of(self.row)
        self.counters = self.counters_of(self.row)
        self.histograms = self.histograms_of(self.row)
        self.sightings = self.sightings_of(self.row)
        self.note_row()

    cdef void note_row(self) noexcept nogil:
        """Let readers know that there may be something in our row."""
        cdef uint32_t seen = load32(&self.header.rows_used)
        while seen <= self.row and not swap32(&self.header.rows_used, seen, self.row + 1):
            seen = load32(&self.header.rows_used)

    # 1. Servers and their state

    def add(self, uint32_t weight=1, uint32_t max_connections=0):
        """Add a server, ALIVE, and return its slot. `max_connections` 0 means any number.

        Raises:
            ValueError: a number out of range (weight 1 to 65535), or no room.
        """
        check_server(weight, max_connections)
        cdef uint32_t slot = self.lowest_free
        while slot < self.capacity and state_of(&self.servers[slot]):
            slot += 1
        if slot == self.capacity:
            raise ValueError(f"the table is full: {self.capacity} servers")
        self.lowest_free = slot + 1
        cdef Server *server = &self.servers[slot]
        server.weight = weight
        server.limit = max_connections if max_connections else UNLIMITED
        server.generation += 1
        server.picked_ms = server.sampled_ms = server.answered_ms = 0
        server.latency = server.penalty = 0
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
        """Empty a slot and forget its figures, in all rows.

        To be called when no process picks its server any more. Then nobody writes there: who has
        given its last connection back has nothing more to say of it.

        Raises:
            RuntimeError: a connection slot of it is held; nothing is changed.
        """
        cdef uint32_t at = self.slot_of(slot)
        cdef Counters *counters
        cdef uint32_t row
        if taken(load64(&self.servers[at].connections)):
            raise RuntimeError(f"slot {at} still has connections")
        for row in range(min(load32(&self.header.rows_used), self.rows)):
            counters = &self.counters_of(row)[at]
            if not row or counters.begun:   # else neither they nor the histogram were ever touched
                self.header_of(row).served_before += counters.served
                counters.served = counters.failed = 0
                counters.bytes_received = counters.bytes_sent = 0
                counters.streak = counters.answers[0] = counters.answers[1] = 0
                memset(&self.histograms_of(row)[at], 0, sizeof(Histogram))
        store32(&self.servers[at].state, self.servers[at].state & ~<uint32_t> 0xFF)
        self.lowest_free = min(self.lowest_free, at)

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
            store64(&server.penalty, 0)
            life += 0x100
        if not swap32(&server.state, word, life | new):
            return False
        add32(&self.header.changes, 1)
        return True

    # 2. Connection slots: the steps of `block.pxd`

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

    # 3. Results

    cdef void record_answer(
            self, uint32_t slot, uint64_t now_ms, double micros, uint32_t status) noexcept nogil:
        """A first response byte came after `micros`: 1 to MAX_MICROS, others are moved there."""
        micros = min(max(micros, 1.0), <double> MAX_MICROS)
        self.counters[slot].streak = 0
        count_answer(&self.counters[slot], now_ms)
        if load64(&self.servers[slot].answered_ms) != now_ms:
            store64(&self.servers[slot].answered_ms, now_ms)
        add_own64(&self.histograms[slot].count[bucket_of(<uint32_t> micros)], 1)
        self.record_time(slot, now_ms, micros, failing(status))

    cdef void record_time(
            self, uint32_t slot, uint64_t now_ms, double micros, bint failed) noexcept nogil:
        """Add to the average what a request took: if it failed, no less than usual."""
        cdef Server *server = &self.servers[slot]
        cdef uint64_t seen, sampled
        cdef double usual = micros
        if failed:
            usual = usual_micros(self, slot)
            charge(server, now_ms, max(usual - micros, 0.0))
        while True:
            seen = load64(&server.latency)
            sampled = sampled_at(server, seen)
            if seen and sampled == now_ms:
                return      # of the answers of one millisecond the first one counts
            if failed:
                if not seen:
                    return      # nothing is known of what its answers take
                micros = max(micros, usual, <double> float_from(<uint32_t> (seen >> 32)))
            if swap64(&server.latency, seen, blend(seen, age_ms(now_ms, sampled), now_ms, micros)):
                store64(&server.sampled_ms, now_ms)
                return

    cdef void record_completion(
            self, uint32_t slot, uint64_t received, uint64_t sent) noexcept nogil:
        cdef Counters *counters = &self.counters[slot]
        add_own64(&counters.served, 1)
        add_own64(&counters.bytes_received, received)
        add_own64(&counters.bytes_sent, sent)

    def answered(self, slot, double now, double seconds, uint32_t status=200):
        """Record a first response byte `seconds` after the request: ends the failures in a row.

        Raises:
            ValueError: `seconds` is negative or not a number.
        """
        if not seconds >= 0.0:
            raise ValueError(f"not a response time: {seconds}")
        self.record_answer(self.slot_of(slot), self.now_ms(now), seconds * 1e6, status)

    def completed(self, slot, uint64_t bytes_received, uint64_t bytes_sent):
        """Record a completed exchange."""
        self.record_completion(self.slot_of(slot), bytes_received, bytes_sent)

    def failed(self, slot, double now, double seconds):
        """Record a failure `seconds` after the request.

        Whether that marks the server down is another matter: see `Failures`.

        Raises:
            ValueError: `seconds` is negative or not a number.
        """
        if not seconds >= 0.0:
            raise ValueError(f"not a time: {seconds}")
        cdef uint32_t at = self.slot_of(slot)
        add_own64(&self.counters[at].failed, 1)
        self.record_time(
            at, self.now_ms(now), min(max(seconds * 1e6, 1.0), <double> MAX_MICROS), True)
        # An answer that was cut has begun, and that has been counted as one.
        raise_average(&self.servers[at], usual_micros(self, at))

    # 4. This process and its clients

    def enter(self, uint32_t pid, double now):
        """Say which process has this row from now on, with a first heartbeat."""
        self.own.incarnation += 1
        self.own.pid = pid
        self.beat(now)

    def beat(self, double now):
        """Show a heartbeat of this process."""
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
        """Count a pause of accepting, at capacity."""
        add_own64(&self.own.pauses, 1)

    def request_ended(self, uint32_t status):
        """Count a request that is over, by its answer's status; 0 for no answer at all."""
        self.record_request(status)

    cdef void record_request(self, uint32_t status) noexcept nogil:
        add_own64(&self.own.ended[min(status // 100, <uint32_t> CLASSES - 1)], 1)

    def took_slow_path(self, uint32_t reason):
        """Count a request that is served on the slow path.

        Args:
            reason: a number below 7, which says why.
        """
        add_own64(&self.own.slow[min(reason, <uint32_t> REASONS - 1)], 1)

    def log_dropped(self, uint64_t entries):
        """Count access log entries that were lost."""
        add_own64(&self.own.log_dropped, entries)

    # 5. The dead

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
        if self.row or not dead:
            raise ValueError(f"row {dead} can't be retired in row {self.row}")
        return settle_row(self, dead)


cdef uint32_t begin(Counters *own, bint release) noexcept nogil:
    """Step 1 of taking and giving back a slot: its number, never 0."""
    cdef uint32_t number = own.begun >> 1
    number = number + 1 if number < MAX_NUMBER else 1
    store32(&own.begun, number << 1 | release)
    return number


cdef inline void count_answer(Counters *own, uint64_t now_ms) noexcept nogil:
    """Count an answer in its window: up to a million."""
    cdef uint32_t window = <uint32_t> (now_ms // WINDOW_MS) & 0xFFF
    cdef uint32_t *answers = &own.answers[window & 1]
    if answers[0] >> 20 != window:
        store32(answers, window << 20 | 1)
    elif answers[0] & 0xFFFFF != 0xFFFFF:
        store32(answers, answers[0] + 1)
