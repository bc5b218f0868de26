"""The block of memory that the shared table is: memory map, and where everything in it is.

One block of memory, in any writable buffer, 64-byte aligned, in native byte order:

    Header                                  2 lines
    Server    [capacity]                    1 line each
    Reason    [capacity]                    4 lines each, which only `_outages` uses
    per process (a *row*):
        RowHeader                           3 lines
        Counters  [capacity]                1 line each
        Histogram [capacity]                16 lines each
        sightings [capacity][rows]          4 bytes each, whole lines per server
    Addresses [rows]                        2048 lines each, which only `_places` uses

A line is a cache line of 64 bytes. Row 0 belongs to the *owner*, the process that made the block;
the others to workers, one each. Who writes what:

- The first header line, but `changes`, `wanted` and `rows_used`, and `weight`, `limit`,
  `generation` of a server: the owner alone.
- A row: its own process alone, by aligned stores. When a worker is dead and was waited for, its
  row is the owner's, until the next worker gets it.
- The second header line, `changes`, `wanted`, `rows_used`, and `state`, `connections`, `latency`,
  `picked_ms`, `sampled_ms`, `answered_ms`, `penalty` of a server: everybody, by atomic operations
  only. These of a server share a line with its fixed fields on purpose: a pick reads nearly all of
  them, so that a second line would double what it has to fetch and save nothing.

Nobody ever waits for another process, so none can keep others waiting by dying. Readers may see
fields of different ages (a request counted in `served` whose bytes are not added yet); every use
tolerates that. What must be exact is one word each: `connections` never exceeds `limit`.

**Taking and giving back a slot** changes two words, the server's `connections` (all processes
together) and the row's own `held`, and a process can be killed between the two. So every such
operation has a number, counted per row and server, and leaves a trace at each step:

    1. own `begun`      = number, taking or giving back
    2. own `sightings`  = the number that the mark in `connections` has, under the row it names
    3. `connections`    : compare-and-swap of count and mark; the new mark is (own row, number)
    4. own `held`       = number, slots now held

Release order: whoever sees a step sees those before it. After a death, `begun` and `held` with the
same number mean that nothing was going on. If they differ, step 3 was done if and only if the mark
still stands in `connections` or some process saw it there: who overwrites a mark has noted it
before, and no later mark of the dead process can have taken the note's place. The owner reads
`connections` first and `sightings` after it: a mark gone from the one is in the others. That takes
no lock, no second try and no pause of the other workers; `recovery.pxi` does it. Numbers come
again after 2**28 operations of one process on one server. Notes are never erased: a new process in
the row goes on with the numbers of the old one.

Times are milliseconds of a monotonic clock in 64 bits; all processes that share a table must mean
the same clock (`Block.epoch` translates). A time ahead of ours, by another process's clock a moment
ago, has an age of 0. `latency` has only room for the low 32 bits of its time, which come again
after 49 days; `sampled_ms`, written right behind it, says which of these times is meant, as long as
it is less than 24 days off.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <string.h>
    static inline uint32_t tlb_load32(const uint32_t *p) {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline uint64_t tlb_load64(const uint64_t *p) {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline void tlb_store32(uint32_t *p, uint32_t value) {
        __atomic_store_n(p, value, __ATOMIC_RELEASE);
    }
    static inline void tlb_store64(uint64_t *p, uint64_t value) {
        __atomic_store_n(p, value, __ATOMIC_RELEASE);
    }
    /* What was stored before it is seen by all before anything is loaded after it. */
    static inline void tlb_barrier(void) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    static inline int tlb_swap32(uint32_t *p, uint32_t seen, uint32_t value) {
        return __atomic_compare_exchange_n(
            p, &seen, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline int tlb_swap64(uint64_t *p, uint64_t seen, uint64_t value) {
        return __atomic_compare_exchange_n(
            p, &seen, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline void tlb_add32(uint32_t *p, uint32_t n) {
        __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL);
    }
    /* For words with one writer: no locked instruction, yet never a torn value. */
    static inline void tlb_add_own64(uint64_t *p, uint64_t n) {
        __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
    }
    /* 2.0 ** -n for 0 <= n < 1023, from its bits. */
    static inline double tlb_half_power(uint32_t n) {
        uint64_t bits = (uint64_t) (1023 - n) << 52; double value; memcpy(&value, &bits, 8);
        return value;
    }
    static inline uint32_t tlb_float_bits(float value) {
        uint32_t bits; memcpy(&bits, &value, 4); return bits;
    }
    static inline float tlb_float_from(uint32_t bits) {
        float value; memcpy(&value, &bits, 4); return value;
    }
    """
    uint32_t load32 "tlb_load32"(const uint32_t *p) noexcept nogil
    uint64_t load64 "tlb_load64"(const uint64_t *p) noexcept nogil
    void store32 "tlb_store32"(uint32_t *p, uint32_t value) noexcept nogil
    void store64 "tlb_store64"(uint64_t *p, uint64_t value) noexcept nogil
    void barrier "tlb_barrier"() noexcept nogil
    # Compare and swap: true when `*p` was `seen` and is now `value`.
    bint swap32 "tlb_swap32"(uint32_t *p, uint32_t seen, uint32_t value) noexcept nogil
    bint swap64 "tlb_swap64"(uint64_t *p, uint64_t seen, uint64_t value) noexcept nogil
    void add32 "tlb_add32"(uint32_t *p, uint32_t n) noexcept nogil
    void add_own64 "tlb_add_own64"(uint64_t *p, uint64_t n) noexcept nogil
    double half_power "tlb_half_power"(uint32_t n) noexcept nogil
    uint32_t float_bits "tlb_float_bits"(float value) noexcept nogil
    float float_from "tlb_float_from"(uint32_t bits) noexcept nogil


cdef enum:
    LINE = 64
    BUCKETS = 128               # of a histogram; 124 are used
    UNLIMITED = 0xFFFFFF        # `limit` of a server without a maximum; what 24 bits can count
    MAX_WEIGHT = 65535
    MAX_SERVERS = 65536         # per table; with MAX_ROWS it keeps all sizes far below 2**63
    MAX_ROWS = 4096             # what 12 bits can number
    MAX_NUMBER = 0xFFFFFFF      # of an operation: 28 bits
    CURSORS = 15                # what fills a line
    CLASSES = 6                 # of statuses: 1xx to 5xx, and 0 for no answer
    REASONS = 7                 # why requests are served on the slow path
    DEPTH = 4                   # counters that an address has; see permits.pxi
    WIDTH = 8192                # counters to choose each of them from; a power of two
    HALF_LIFE_MS = 2048         # of a response time average; a power of two
    PENALTY_MS = 512            # half-life of what a server is charged; divides the other one
    MAX_REASON = 236            # bytes of why a server is out; fills lines
    WINDOW_MS = 8192            # in which answers are counted to set failures against; likewise

cdef enum ServerState:          # 0, a slot without a server, is eligible for nothing
    STATE_ALIVE = 1
    STATE_DEAD = 2
    STATE_DRAINING = 3

cdef struct Header:
    # line 0: written when the table is made
    uint64_t magic              # "trio-lb" in native byte order: refuses the other order too
    uint32_t layout             # version of this memory map
    uint32_t capacity           # servers there is room for
    uint32_t rows
    uint32_t changes            # of servers' states, so far; shared
    uint64_t size               # bytes of the whole block
    uint64_t seed               # of the choice of counters for an address, so that none can aim
    uint64_t wanted             # ms of the clock when somebody last lacked a server, + 1; shared
    uint32_t rows_used          # all rows that a process ever had are below this one; shared
    uint8_t spare1[12]
    # line 1: shared
    # Slot picked last; 0xFFFFFFFF before the first pick. All who pick from the same servers have
    # one cursor together, others have another (nearly always): see Selection.
    uint32_t cursors[CURSORS]
    uint32_t taker              # row + 1 of who takes out a server unless it is the last; or 0

cdef struct Server:
    # fixed by the owner
    uint32_t weight             # 1 .. MAX_WEIGHT
    uint32_t limit              # max_connections, or UNLIMITED
    uint32_t generation         # servers that had this slot so far, so that none is mistaken
    # shared
    # ServerState in the low 8 bits; above, how often it came back to life. A worker moves it from
    # alive to dead, no other way.
    uint32_t state
    uint64_t connections        # slots taken by all together, and a mark: see `taken`, `mark_row`
    # Average in µs (float bits) << 32 | low bits of the time of the last sample. 0: never measured
    # (an average is at least 1 µs).
    uint64_t latency
    uint64_t picked_ms          # when a response time algorithm picked it last
    uint64_t sampled_ms         # time of the last sample, or of one shortly before: see sampled_at
    uint64_t answered_ms        # its last answer, whatever it said
    # What it is charged for failing faster than others answer: connections (float bits) << 32 |
    # time in units of 16 ms of when they were so many, from when on they decay. 0: none.
    uint64_t penalty

cdef struct Reason:             # why a server is out; shared: see outages.pxi
    uint32_t writer             # row + 1 of who writes it, or 0
    uint32_t version            # odd while it is being written
    uint32_t life               # of the server's lives, the one that ended so
    uint32_t length             # of `text`, in bytes
    uint32_t ejected            # it was taken out for failed requests, not for refusing connections
    char text[MAX_REASON]

cdef struct RowHeader:          # one writer
    uint64_t heartbeat          # ms of the clock of its last heartbeat, + 1; or 0
    uint32_t pid
    uint32_t incarnation        # processes that had this row so far
    uint64_t clients            # client connections open
    uint64_t clients_total      # client connections accepted
    uint64_t ended[CLASSES]     # requests by the first digit of their status; 0: no answer
    uint64_t log_dropped        # access log entries lost
    uint32_t places             # clients let in, or about to be: see permits.pxi
    uint32_t addressed          # whether there ever was something in our Addresses
    uint64_t wanting            # ms of the clock when we last lacked a place, + 1; or 0
    uint64_t refused            # clients closed at once, since their address had too many
    uint64_t let_go             # idle clients closed early, to make room for others
    uint64_t pauses             # of accepting: no permit, or no descriptor
    # written by the owner
    uint64_t served_before      # exchanges completed of servers that were removed since
    # written by its process again
    uint64_t slow[REASONS]      # requests served on the slow path, by the reason

cdef struct Counters:           # of one server in one row; one writer
    uint64_t held               # number of the last operation completed << 32 | slots held
    uint32_t begun              # number of the last operation begun << 1 | whether it gives back
    uint32_t streak_ms          # when the last failure of `streak` was
    uint64_t streak             # failures since the last answer, and whose: see failures.pxi
    uint64_t served             # exchanges completed
    uint64_t failed
    uint64_t bytes_received     # from the server
    uint64_t bytes_sent         # to the server
    # Answers in this window and the one before, by the windows' last bits: number of the window
    # (12 bits) << 20 | answers
    uint32_t answers[2]

cdef struct Addresses:          # of the clients let in by one row; one writer
    uint32_t count[DEPTH][WIDTH]

cdef struct Histogram:          # response times of one server in one row; one writer
    uint64_t count[BUCKETS]     # see bucket_of


# The parts of `connections`: count (24 bits), row (12) and number (28) of who wrote it.

cdef inline uint32_t taken(uint64_t word) noexcept nogil:
    return <uint32_t> (word & UNLIMITED)


cdef inline uint32_t mark_row(uint64_t word) noexcept nogil:
    return <uint32_t> (word >> 24) & (MAX_ROWS - 1)


cdef inline uint32_t mark_number(uint64_t word) noexcept nogil:
    return <uint32_t> (word >> 36)


cdef inline uint64_t marked(uint32_t count, uint32_t row, uint32_t number) noexcept nogil:
    return count | <uint64_t> row << 24 | <uint64_t> number << 36


cdef inline bint untouched(const Counters *counters) noexcept nogil:
    """Nothing was ever done with a server in this row: its histogram has taken no memory yet."""
    return not (counters.begun or counters.served or counters.failed
                or counters.answers[0] or counters.answers[1])


cdef inline uint32_t state_of(const Server *server) noexcept nogil:
    """A ServerState, 0 for a slot without a server."""
    return load32(&server.state) & 0xFF


cdef inline bint eligible(const Server *server) noexcept nogil:
    """Alive and below its maximum. It may be neither a moment later: `acquire` decides."""
    return (state_of(server) == STATE_ALIVE
            and taken(load64(&server.connections)) < load32(&server.limit))


cdef inline uint64_t age_ms(uint64_t now_ms, uint64_t then_ms) noexcept nogil:
    """Milliseconds passed, 0 for a time ahead of `now_ms`."""
    return now_ms - then_ms if now_ms > then_ms else 0


cdef inline uint64_t sampled_at(const Server *server, uint64_t word) noexcept nogil:
    """When the last sample of `latency`, which was `word`, was taken.

    A process that dies before it has written `sampled_ms` leaves an older one there. If that is by
    24 days or more, the sample seems older than it is, until the next one.
    """
    cdef uint64_t about = load64(&server.sampled_ms)
    return about + <uint64_t> <int64_t> <int32_t> (<uint32_t> word - <uint32_t> about)


cdef inline double decay(uint64_t passed) noexcept nogil:
    """About 2 ** (-passed / HALF_LIFE_MS): powers of two joined by straight lines.

    Exact in binary, a few instructions; falls strictly for two minutes, then stays at 2 ** -62.
    """
    cdef uint32_t age = <uint32_t> min(passed, <uint64_t> 62 * HALF_LIFE_MS)
    return (1.0 - (age % HALF_LIFE_MS) / (2.0 * HALF_LIFE_MS)) * half_power(age // HALF_LIFE_MS)


cdef inline uint32_t penalty_time(uint64_t now_ms) noexcept nogil:
    """Units of 16 ms: in 32 bits, they come again after two years."""
    return <uint32_t> (now_ms >> 4)


cdef inline double penalty_of(const Server *server, uint64_t now_ms) noexcept nogil:
    """Connections that a server is charged beside those it has."""
    cdef uint64_t word = load64(&server.penalty)
    cdef uint64_t age
    if not word:
        return 0.0
    age = <uint64_t> (penalty_time(now_ms) - <uint32_t> word) << 4
    if age >= <uint64_t> 0xFFFFF0000:
        age = 0         # a time a moment ahead of ours
    return float_from(<uint32_t> (word >> 32)) * decay(age * (HALF_LIFE_MS // PENALTY_MS))


cdef inline uint64_t whole_ms(double now) except? 0xFFFFFFFFFFFFFFFF:
    """Seconds of a monotonic clock as milliseconds."""
    if not 0.0 <= now < 1e15:
        raise ValueError(f"not a time: {now}")
    return <uint64_t> (now * 1000.0)


cdef inline uint32_t bucket_of(uint32_t micros) noexcept nogil:
    """Histogram bucket of a response time: four per octave; one per microsecond below 4.

    A bucket's middle is at most 12.5 % off any time in it (from 4 µs on), up to 71 minutes.
    """
    cdef uint32_t octave = 0
    cdef uint32_t rest = micros
    while rest > 7:
        rest >>= 1
        octave += 1
    return 4 * octave + rest


cdef class Block:
    """A block of table memory, known to be one, and where things are in it.

    The C-level methods take slots and rows on trust; the Python ones check them.
    """
    cdef Py_buffer view
    cdef Header *header
    cdef Server *servers        # [capacity]
    cdef Reason *reasons        # [capacity]
    # What bounds every access is copied from the header once, after it was checked.
    cdef readonly uint32_t capacity
    cdef readonly uint32_t rows
    cdef readonly uint32_t row
    cdef readonly double epoch  # what a caller's clock shows when the table's shows 0, in seconds
    cdef uint64_t sightings_step

    cdef RowHeader *header_of(self, uint32_t row) noexcept nogil
    cdef Counters *counters_of(self, uint32_t row) noexcept nogil       # [capacity]
    cdef Histogram *histograms_of(self, uint32_t row) noexcept nogil    # [capacity]
    cdef uint32_t *sightings_of(self, uint32_t row) noexcept nogil      # [capacity][sightings_step]
    cdef Addresses *addresses_of(self, uint32_t row) noexcept nogil
    cdef uint64_t now_ms(self, double now) except? 0xFFFFFFFFFFFFFFFF
    cdef uint32_t slot_of(self, object slot) except? 0xFFFFFFFF
    cdef uint32_t row_of(self, object row) except? 0xFFFFFFFF
    cdef object rows_named(self, object row)
