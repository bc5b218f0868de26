"""The algorithms that choose a server. Formulas and reasons: docs/algorithms.md.

Each one is a class with one method, `choose`, which returns the slot to try or NOBODY. Taking the
connection slot, and choosing again when another worker was faster, is done once, in `pick_slot`.

A selection sees only its *members*, the slots that it was made with: during a reload, workers with
the old servers and with the new ones share a table. A *place* is a member's number among them.

Equal candidates take turns: every search starts after the slot picked last (by any worker with
the same members: they share a cursor in the table) and only a better candidate replaces the one
found first.
"""

cimport cython
from libc.math cimport INFINITY, rint
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free


cdef double TOLERANCE = 0.125       # see docs/algorithms.md for how these two were found
cdef int64_t TURN_SCALE = 65536

cdef enum:
    CONNECTION = 65536          # what one counts in LeastConnections, so that parts of one do


cdef uint64_t idle_ms(const Server *server, uint64_t word, uint64_t now_ms) noexcept nogil:
    """Milliseconds since a server was last picked or measured, whichever was later."""
    return min(age_ms(now_ms, sampled_at(server, word)), age_ms(now_ms, load64(&server.picked_ms)))


cdef uint32_t next_place(uint32_t place, uint32_t count) noexcept nogil:
    return place + 1 if place + 1 < count else 0


@cython.auto_pickle(False)
cdef class Selection:
    """What all algorithms share. By itself it never picks anybody.

    Args:
        table: where the servers are.
        slots: which of them may be picked; None means all that are in it now.

    Raises:
        IndexError: there is no server in one of `slots`.
    """

    def __cinit__(self, Table table not None, slots=None):
        cdef uint32_t slot, place = 0, key = 0
        members = table.slots() if slots is None else slots
        members = sorted({table.slot_of(each) for each in members})
        self.table = table
        self.count = <uint32_t> len(members)
        self.excluded = <uint8_t *> calloc(table.capacity, sizeof(uint8_t))
        self.slots = <uint32_t *> calloc(table.capacity, sizeof(uint32_t))
        self.after = <uint32_t *> calloc(table.capacity, sizeof(uint32_t))
        if self.excluded is NULL or self.slots is NULL or self.after is NULL:
            raise MemoryError
        for slot in range(table.capacity):
            if place < self.count and members[place] == slot:
                self.slots[place] = slot
                place += 1
                key = key * 31 + slot + 1       # any hash will do
            self.after[slot] = place if place < self.count else 0
        # With one cursor for all, pools that differ would lead each other past some servers.
        self.cursor = &table.header.cursors[key % CURSORS]

    def __dealloc__(self):
        free(self.excluded)
        free(self.slots)
        free(self.after)

    cdef uint32_t place_after(self, uint32_t cursor) noexcept nogil:
        """Where a search begins: after the slot picked last; before the first pick at the front."""
        return self.after[cursor] if cursor < self.table.capacity else 0

    cdef int32_t choose(self, uint64_t now_ms) noexcept nogil:
        return NOBODY

    cdef void missed(self, uint32_t slot) noexcept nogil:
        """The slot chosen last could not be taken: another worker was faster."""

    def go_on_from(self, Selection earlier not None):
        """Begin with the turn that `earlier` would have come to, which was over other servers of
        the same pool."""
        if self.cursor != earlier.cursor:
            store32(self.cursor, load32(earlier.cursor))

    cdef int32_t pick_slot(self, uint64_t now_ms) noexcept nogil:
        """Choose a server and take one of its connection slots; NOBODY when none is eligible.

        Another worker may take the last slot of the chosen server in between. Then that one is no
        longer eligible, and the next choice is another: each repetition is somebody's success.
        """
        cdef int32_t slot
        while True:
            slot = self.choose(now_ms)
            if slot == NOBODY or self.table.acquire_slot(<uint32_t> slot):
                return slot
            self.missed(<uint32_t> slot)

    def pick(self, double now, tuple tried not None=()):
        """Choose a server that is alive, below its maximum and not in `tried`, and take one of
        its connection slots.

        Args:
            now: seconds of the table's clock.
            tried: slots that are out of the question.

        Returns:
            The slot, to be given to `Table.release` once; None when nobody is eligible.

        Raises:
            IndexError: a slot in `tried` does not exist.
        """
        cdef uint64_t now_ms = self.table.now_ms(now)
        cdef Py_ssize_t marked = 0
        try:
            for slot in tried:
                self.excluded[self.table.slot_of(slot)] = 1
                marked += 1
            picked = self.pick_slot(now_ms)
        finally:
            for slot in tried[:marked]:
                self.excluded[self.table.slot_of(slot)] = 0
        return None if picked == NOBODY else picked


@cython.final
@cython.auto_pickle(False)
cdef class RoundRobin(Selection):
    """The next eligible server after the one picked last."""

    cdef int32_t choose(self, uint64_t now_ms) noexcept nogil:
        cdef uint32_t cursor, place, slot, _step
        cdef const Server *servers = self.table.servers
        while True:
            cursor = load32(self.cursor)
            place = self.place_after(cursor)
            for _step in range(self.count):
                slot = self.slots[place]
                if eligible(&servers[slot]) and not self.excluded[slot]:
                    break
                place = next_place(place, self.count)
            else:
                return NOBODY
            # The turn is ours only if no other worker took it meanwhile.
            if swap32(self.cursor, cursor, slot):
                return slot


cdef struct Turn:               # of one member in WeightedRoundRobin
    int64_t credit              # share of a turn it is owed, in units of:
    int64_t whole               # a whole turn
    int64_t share               # credited with the last choice; 0: it was not eligible


@cython.final
@cython.auto_pickle(False)
cdef class WeightedRoundRobin(Selection):
    """Smooth: with every pick each eligible server is credited its share of one turn, weight /
    sum of weights, and the one with most credit is picked and pays the whole turn.

    All count in units of sum * TURN_SCALE, so that nothing is ever rounded while the same servers
    are eligible. When that changes, so does the sum, and credit is converted: a server is owed the
    same part of a turn as before. (Unconverted, what is owed among heavy servers is many turns
    among the light ones left, and they get bursts.) One that is down keeps its credit.

    Credit is this worker's own: the shares are exact in each worker, so nearly so in sum.
    """
    cdef Turn *turns            # [count], by place
    cdef int64_t whole          # of the last choice

    def __cinit__(self):
        self.turns = <Turn *> calloc(self.table.capacity, sizeof(Turn))
        if self.turns is NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.turns)

    cdef int32_t choose(self, uint64_t now_ms) noexcept nogil:
        cdef int32_t best = NOBODY
        cdef int64_t whole = 0
        cdef uint32_t place, slot
        cdef const Server *servers = self.table.servers
        cdef Turn *turn = self.turns
        # Who is eligible is looked at once: it may change at any moment, and the shares of one
        # choice must make one turn.
        for place in range(self.count):
            slot = self.slots[place]
            turn.share = 0
            if eligible(&servers[slot]) and not self.excluded[slot]:
                turn.share = <int64_t> load32(&servers[slot].weight) * TURN_SCALE
                whole += turn.share
            turn += 1
        for place in range(self.count):
            turn = &self.turns[place]
            if turn.share:
                if turn.whole != whole:
                    if turn.credit:
                        turn.credit = <int64_t> rint(
                            turn.credit * (<double> whole / <double> turn.whole))
                    turn.whole = whole
                turn.credit += turn.share
                if best == NOBODY or turn.credit > self.turns[best].credit:
                    best = place
        if best == NOBODY:
            return NOBODY
        self.turns[best].credit -= whole
        self.whole = whole
        return self.slots[best]

    def go_on_from(self, Selection earlier not None):
        """Who was a member before keeps what it is owed; what others were is shared out.

        So all are owed nothing in sum, as at the beginning, however often members change: one that
        comes, and is owed nothing, stands where the others do.
        """
        cdef WeightedRoundRobin before
        cdef uint32_t place, other = 0, kept = 0
        cdef double owed = 0.0      # turns
        Selection.go_on_from(self, earlier)
        if not isinstance(earlier, WeightedRoundRobin):
            return
        before = <WeightedRoundRobin> earlier
        for place in range(self.count):     # the slots of both are in order
            while other < before.count and before.slots[other] < self.slots[place]:
                other += 1
            if other < before.count and before.slots[other] == self.slots[place]:
                self.turns[place] = before.turns[other]
                if self.turns[place].whole:
                    owed += <double> self.turns[place].credit / <double> self.turns[place].whole
                    kept += 1
        for place in range(self.count):
            if self.turns[place].whole:
                self.turns[place].credit -= <int64_t> rint(
                    owed / kept * <double> self.turns[place].whole)

    cdef void missed(self, uint32_t slot) noexcept nogil:
        """Undo the choice: nobody has had this turn."""
        cdef uint32_t place
        for place in range(self.count):
            self.turns[place].credit -= self.turns[place].share
            if self.slots[place] == slot:
                self.turns[place].credit += self.whole


@cython.auto_pickle(False)
cdef class LeastConnections(Selection):
    """The server with least (connections + 1) / weight, where every weight counts as 1.

    The connections include what a server is charged for failing sooner than others answer.
    """
    cdef bint weighted

    cdef int32_t choose(self, uint64_t now_ms) noexcept nogil:
        cdef uint32_t place = self.place_after(load32(self.cursor))
        cdef int32_t best = NOBODY
        cdef uint64_t load, weight, best_load = 0, best_weight = 0
        cdef uint32_t slot, _step
        cdef const Server *server
        for _step in range(self.count):
            slot = self.slots[place]
            server = &self.table.servers[slot]
            if eligible(server) and not self.excluded[slot]:
                load = (<uint64_t> taken(load64(&server.connections)) + 1) * CONNECTION
                load += <uint64_t> (penalty_of(server, now_ms) * CONNECTION)
                weight = load32(&server.weight) if self.weighted else 1
                # load / weight < best_load / best_weight, exactly: both products fit 64 bits.
                if best == NOBODY or load * best_weight < best_load * weight:
                    best, best_load, best_weight = slot, load, weight
            place = next_place(place, self.count)
        if best != NOBODY:
            store32(self.cursor, best)
        return best


@cython.final
@cython.auto_pickle(False)
cdef class WeightedLeastConnections(LeastConnections):
    """The server with least (connections + 1) / weight."""

    def __cinit__(self):
        self.weighted = True


@cython.auto_pickle(False)
cdef class LeastResponseTime(Selection):
    """The server with least average * (connections + 1) / weight, every weight counting as 1.

    The average counts less the longer a server was neither picked nor measured, so that one
    which was slow once is tried again: by one request, since the pick makes the average count
    fully until that request has said how the server is now.

    A server never measured comes first while it is idle. From its first request to its first
    answer, and after answers that say that it failed, it counts as average as the others are.

    An answer that says that the server failed (5xx) does not lower its average, and the time that
    it would have taken at the others is charged as connections.

    Scores at most TOLERANCE above the least count as equal and take turns, so that noise in the
    averages does not favour one of several like servers.
    """
    cdef bint weighted
    cdef double *scores         # [count], by place; of the last choice, INFINITY for who is down

    def __cinit__(self):
        self.scores = <double *> calloc(self.table.capacity, sizeof(double))
        if self.scores is NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.scores)

    cdef int32_t choose(self, uint64_t now_ms) noexcept nogil:
        cdef double least = self.score_all(now_ms)
        if least == INFINITY:
            return NOBODY
        cdef uint32_t place = self.place_after(load32(self.cursor))
        while not self.scores[place] <= least * (1.0 + TOLERANCE):
            place = next_place(place, self.count)
        cdef uint32_t slot = self.slots[place]
        store32(self.cursor, slot)
        store64(&self.table.servers[slot].picked_ms, now_ms)
        return slot

    cdef double score_all(self, uint64_t now_ms) noexcept nogil:
        """Fill `scores`; the least of them."""
        cdef double least = INFINITY, averages = 0.0, load, charged, average, score
        cdef uint32_t place, slot, measured = 0, unknown = 0
        cdef uint64_t word
        cdef const Server *server
        cdef const Server *servers = self.table.servers
        cdef const uint8_t *excluded = self.excluded
        cdef const uint32_t *slots = self.slots
        cdef double *scores = self.scores
        cdef bint weighted = self.weighted
        for place in range(self.count):
            score = INFINITY
            slot = slots[place]
            server = &servers[slot]
            if eligible(server) and not excluded[slot]:
                load = <double> taken(load64(&server.connections))
                charged = load + penalty_of(server, now_ms)
                word = load64(&server.latency)
                if word:
                    average = float_from(<uint32_t> (word >> 32))
                    averages += average
                    measured += 1
                    average *= decay(idle_ms(server, word, now_ms))
                elif charged > 0.0:
                    average = -1.0      # below zero: settled when the averages of all are known
                    unknown += 1
                else:
                    average = 0.0
                score = average * (charged + 1.0)
                if weighted and score > 0.0:
                    score /= load32(&server.weight)
                if 0.0 <= score < least:
                    least = score
            scores[place] = score
        if unknown:
            average = averages / measured if measured else 1.0
            for place in range(self.count):
                if scores[place] < 0.0:
                    scores[place] *= -average
                    if weighted:
                        scores[place] /= load32(&servers[slots[place]].weight)
                    least = min(least, scores[place])
        return least


@cython.final
@cython.auto_pickle(False)
cdef class WeightedLeastResponseTime(LeastResponseTime):
    """The server with least response time average * (connections + 1) / weight."""

    def __cinit__(self):
        self.weighted = True
