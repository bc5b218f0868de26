"""What the fast path's machines share; see fast_path.pxd."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from libc.time cimport time

from trio_lb.fast.http1 cimport write_date

cdef const char *DIGITS = "0123456789abcdef"


@cython.final
@cython.auto_pickle(False)
cdef class FastPath:
    """The fast path of a process.

    Args:
        readiness: who steps the machines.
        table: of the process.
        selection, servers: see `set_members`.
        run_id: beginning of the request ids made here, at most 12 bytes, and no other's.
        head_limit, target_limit, field_limit, body_limit: of a request; None: any body.
        replay_body: bytes up to which a body is collected before a server is picked, or one that
            is chunked is kept to be sent again.
        client_head, keep_alive, body, connect, response, half_closed, idle: seconds; `idle` of a
            server's connection, the others as in the profile's `timeouts`.
        records: who gets one of every request that was served here; None: nobody.
        confined: see `set_members`.
    """

    def __cinit__(
        self, Readiness readiness not None, Table table not None, Selection selection not None,
        list servers not None, bytes run_id not None, *, uint32_t head_limit,
        uint32_t target_limit, uint32_t field_limit, body_limit, uint64_t replay_body,
        double client_head, double keep_alive, double body, double connect, double response,
        double half_closed, double idle, min_rate=None, most_requests=None, bint confined=False,
        RecordBuffer records=None,
    ):
        self.readiness = readiness
        self.table = table
        self.buffers = Buffers()
        self.records = records
        self.failed = empty_handover(INTERNAL_ERROR, "")
        self.limits.head = head_limit
        self.limits.target = target_limit
        self.limits.fields = field_limit
        self.limits.body = -1 if body_limit is None else body_limit
        self.limits_of_trusted = self.limits
        self.limits_of_trusted.trusted = True
        self.replay_body = replay_body
        self.patience = Patience(
            client_head, keep_alive, body, connect, response, half_closed, idle)
        self.rate = 0.0 if min_rate is None else min_rate
        self.most_requests = <uint64_t> -1 if most_requests is None else most_requests
        if not 1 <= len(run_id) <= 12:
            raise ValueError(f"a run id has 1 to 12 bytes, not {len(run_id)}")
        self.id_prefix_length = len(run_id)
        memcpy(self.id_prefix, <char *> run_id, len(run_id))
        self.index_at = <int32_t *> malloc(table.capacity * sizeof(int32_t))
        if self.index_at is NULL:
            raise MemoryError
        self.set_members(selection, servers, confined)

    def __dealloc__(self):
        free(self.index_at)

    def set_members(self, Selection selection not None, list servers not None, bint confined):
        """Pick from other servers from the next request on; those under way go on with theirs.

        Args:
            selection: over the members of the pool.
            servers: all of them.
            confined: one of them is below a path, which no request may climb out of.

        Raises:
            IndexError: one has no slot in the table; nothing is changed.
        """
        cdef Server server
        cdef int32_t index
        for server in servers:
            if server.slot >= self.table.capacity:
                raise IndexError(f"no slot {server.slot}")
        for index, server in enumerate(servers):
            self.index_at[server.slot] = index
        self.selection = selection
        self.servers = servers
        self.limits.confined = self.limits_of_trusted.confined = confined

    @property
    def borrowed(self):
        """Buffers and pipes that are in use."""
        return self.buffers.borrowed + self.buffers.pipes.lent

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
