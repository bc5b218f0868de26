"""What speaks against a server: its failures in a row, of whose requests, and its answers.

A failure is in a row with others if no answer of the server came in between, in any process. Each
process counts its own in its own row of the table, with when the last one was. Who asks adds up the
rows: a row's failures count if the server's last answer, whose time all share
(`Server.answered_ms`), is older than they are.

Clients are told apart by a number of 16 bits. Two that have the same one count as one, which errs
on the server's side.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    MAX_FAILURES = 0xFFFF
    MAX_CONFIRMED = 0xFF
    SEVERAL = 0                 # in the place of a client's number

# The parts of `Counters.streak`: failures (16 bits), what `streak_ms` has no room for of the time
# of the last one (8, so that times come again after 34 years), those of them that are confirmed
# (8), whose they are (16), and in which life of the server (16, the last ones of `state`). The
# counts stop at their ends. The whole is 0 when there are none.

cdef inline uint32_t failures_of(uint64_t word) noexcept nogil:
    return <uint32_t> (word & MAX_FAILURES)


cdef inline uint32_t confirmed_of(uint64_t word) noexcept nogil:
    return <uint32_t> (word >> 24) & MAX_CONFIRMED


cdef inline uint32_t client_of(uint64_t word) noexcept nogil:
    return <uint32_t> (word >> 32) & 0xFFFF


cdef inline uint32_t life_of(uint64_t word) noexcept nogil:
    return <uint32_t> (word >> 48)


cdef inline uint64_t streak(
        uint32_t failures, uint32_t confirmed, uint32_t client, uint32_t life, uint64_t now_ms
) noexcept nogil:
    return (
        min(failures, <uint32_t> MAX_FAILURES) | (now_ms >> 32 & 0xFF) << 16
        | <uint64_t> min(confirmed, <uint32_t> MAX_CONFIRMED) << 24
        | <uint64_t> client << 32 | <uint64_t> (life & 0xFFFF) << 48)


cdef inline uint64_t time_of(uint64_t word, const Counters *counters) noexcept nogil:
    """When the last failure of `counters.streak` was, which was `word`."""
    return (word >> 16 & 0xFF) << 32 | load32(&counters.streak_ms)


cdef inline uint64_t joined(uint64_t word, uint64_t other, uint64_t now_ms) noexcept nogil:
    """The failures of both, which are of one life."""
    if not word or not other:
        return word | other
    return streak(
        failures_of(word) + failures_of(other), confirmed_of(word) + confirmed_of(other),
        client_of(word) if client_of(word) == client_of(other) else SEVERAL, life_of(word), now_ms)


cdef inline bint answered_since(const Server *server, uint64_t then_ms) noexcept nogil:
    """Whether the server has answered anybody after `then_ms`."""
    return load64(&server.answered_ms) > then_ms


cdef uint32_t answers_of(const Counters *counters, uint64_t now_ms) noexcept nogil:
    """Answers in the last WINDOW_MS: this window's, and of the one before the part that it takes
    to fill that time up, as if they had come evenly. (A window's number comes again after nine
    hours. Answers of just then may be taken for new ones, which errs on the server's side.)
    """
    cdef uint32_t window = <uint32_t> (now_ms // WINDOW_MS) & 0xFFF
    cdef uint32_t before = (window - 1) & 0xFFF
    cdef uint32_t current = load32(&counters.answers[window & 1])
    cdef uint32_t earlier = load32(&counters.answers[before & 1])
    cdef uint64_t part = 0
    if earlier >> 20 == before:
        part = <uint64_t> (earlier & 0xFFFFF) * (WINDOW_MS - now_ms % WINDOW_MS) + WINDOW_MS - 1
    return <uint32_t> (part // WINDOW_MS) + (current & 0xFFFFF if current >> 20 == window else 0)


@cython.final
@cython.auto_pickle(False)
cdef class Failures:
    """The failures of servers, as the process of the table's row counts them and all have seen.

    Args:
        table: as this process sees it.
    """

    cdef Table table

    def __cinit__(self, Table table not None):
        self.table = table

    def add(self, slot, uint32_t life, double now, uint32_t client, bint confirmed, since=None):
        """Count a failure of a server, and say what there is against it.

        Args:
            slot: of the server.
            life: in which life of the server it was (`Table.life`).
            now: seconds of the table's clock.
            client: number of whose request it was, 1 to 65535.
            confirmed: another server has answered the same request.
            since: when the server was sent the request, if it took all its time.

        Returns:
            Failures in a row with this one, over all processes; those of them that are
            confirmed; whether they are of several clients' requests; answers to anybody in the
            last 8.192 s; and whether there were none since `since`. None, and nothing is counted,
            if the server has come to life since.

        Raises:
            IndexError: there is no server in the slot.
            ValueError: no such client.
        """
        if not 1 <= client <= 0xFFFF:
            raise ValueError(f"a client's number is 1 to 65535, not {client}")
        cdef uint32_t at = self.table.slot_of(slot)
        cdef uint64_t now_ms = self.table.now_ms(now)
        cdef const Server *server = &self.table.servers[at]
        cdef const Counters *counters
        cdef uint32_t row
        cdef uint64_t all_rows = 0, answers = 0
        if load32(&server.state) >> 8 != life:
            return None
        self.count(at, now_ms, streak(1, confirmed, client, life, now_ms))
        for row in range(self.table.rows):
            counters = &self.table.counters_of(row)[at]
            answers += answers_of(counters, now_ms)
            all_rows = joined(all_rows, streak_of(counters, server, life), now_ms)
        silent = since is not None and not answered_since(server, self.table.now_ms(since))
        return (
            failures_of(all_rows), confirmed_of(all_rows), client_of(all_rows) == SEVERAL, answers,
            silent)

    cdef void count(self, uint32_t slot, uint64_t now_ms, uint64_t one) noexcept:
        cdef Counters *own = &self.table.counters[slot]
        cdef uint64_t word = streak_of(own, &self.table.servers[slot], life_of(one))
        store32(&own.streak_ms, <uint32_t> now_ms)
        store64(&own.streak, joined(word, one, now_ms))


cdef uint64_t streak_of(
        const Counters *counters, const Server *server, uint32_t life) noexcept nogil:
    """The failures of a row, as far as they still are in a row."""
    cdef uint64_t word = load64(&counters.streak)
    if not word or life_of(word) != life & 0xFFFF \
            or answered_since(server, time_of(word, counters)):
        return 0
    return word
