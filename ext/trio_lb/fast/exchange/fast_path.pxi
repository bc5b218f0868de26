"""What the fast path's machines share; see fast_path.pxd."""

cimport cython
from libc.string cimport memcpy
from libc.time cimport time

from trio_lb.fast.http1 cimport HeadLimits, write_date
from trio_lb.fast.loop cimport log_fault

cdef enum:
    MOST_SPARE = 1024           # exchanges that are kept for who has a request next

cdef const char *DIGITS = "0123456789abcdef"


@cython.final
@cython.auto_pickle(False)
cdef class FastPath:
    """The fast path of a process.

    Args:
        readiness: who steps the machines.
        table: of the process.
        route: of all requests.
        run_id: beginning of the request ids made here, at most 12 bytes, and no other's.
        head_limit, target_limit, field_limit: of a request.
        client_head, keep_alive, body, half_closed: seconds, as in the profile's `timeouts`.
        min_rate, most_requests: of a client's connection; None: any.
        records: who gets one of every request that was served here; None: nobody.
    """

    def __cinit__(
        self, Readiness readiness not None, Table table not None, Route route not None,
        bytes run_id not None, *, uint32_t head_limit, uint32_t target_limit,
        uint32_t field_limit, double client_head, double keep_alive, double body,
        double half_closed, min_rate=None, most_requests=None, RecordBuffer records=None,
    ):
        self.readiness = readiness
        self.table = table
        self.route = route
        self.buffers = Buffers()
        self.records = records
        self.failed = empty_handover(INTERNAL_ERROR, "")
        self.unused = []
        self.away = new_exchange(self)
        self.idle = new_exchange(self)
        self.idle.state = READING
        self.limits = HeadLimits(head_limit, target_limit, field_limit)
        self.claimed = {}
        self.patience = Patience(client_head, keep_alive, body, half_closed)
        self.rate = 0.0 if min_rate is None else min_rate
        self.most_requests = <uint64_t> -1 if most_requests is None else most_requests
        if not 1 <= len(run_id) <= 12:
            raise ValueError(f"a run id has 1 to 12 bytes, not {len(run_id)}")
        self.id_prefix_length = len(run_id)
        memcpy(self.id_prefix, <char *> run_id, len(run_id))

    @property
    def borrowed(self):
        """Buffers and pipes that are in use."""
        return self.buffers.borrowed + self.buffers.pipes.lent

    @property
    def spare(self):
        """Exchanges that nobody has."""
        return self.unused[:self.spare_count]

    @property
    def claims_known(self):
        """How many clients of trusted proxies are remembered."""
        return len(self.claimed)

    @property
    def borrowed_large(self):
        """Large ones among the buffers in use."""
        return self.buffers.lent_large

    @property
    def pipe_problem(self):
        """Number of the error that keeps large bodies from going through pipes here, or 0."""
        return self.buffers.pipes.problem

    def close_idle_pipes(self):
        """Close the pipes that are kept for those who need one next."""
        self.buffers.pipes.close()

    cdef bint lend(self, ClientSide client) noexcept:
        cdef Exchange exchange
        try:
            if self.spare_count:
                self.spare_count -= 1
                exchange = <Exchange> self.unused[self.spare_count]
            else:
                exchange = new_exchange(self)
        except BaseException:
            log_fault("making room for a request")
            return False
        exchange.client = client
        exchange.state = READING
        client.exchange = exchange
        return True

    cdef void take_back(self, Exchange exchange) noexcept:
        exchange.client = None
        try:
            if self.spare_count < len(self.unused):
                self.unused[self.spare_count] = exchange
            elif self.spare_count < MOST_SPARE:
                self.unused.append(exchange)
            else:
                return
            self.spare_count += 1
        except BaseException:       # then it is not kept
            pass

    cdef const char *date_line(self) noexcept nogil:
        cdef int64_t second = time(NULL)    # of the wall clock; costs no system call
        if second != self.dated:
            write_date(self.date, second)
            self.dated = second
        return self.date

    cdef size_t make_id(self, char *out) noexcept nogil:
        cdef size_t length = self.id_prefix_length
        cdef int shift = 60
        memcpy(out, self.id_prefix, length)
        out[length] = c"-"
        self.serial += 1
        while shift and not self.serial >> shift:
            shift -= 4
        while shift >= 0:
            length += 1
            out[length] = DIGITS[self.serial >> shift & 15]
            shift -= 4
        return length + 1
