"""What the fast path's machines share, and what they leave to the slow path."""

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
        self.failed = Handover.__new__(Handover)
        self.failed.why = INTERNAL_ERROR
        self.failed.reason = ""
        self.failed.unread = self.failed.request_id = b""
        self.failed.unsent = self.failed.received = b""
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


@cython.final
@cython.auto_pickle(False)
cdef class Handover:
    """Why a client's plain run has ended, and all that the slow path needs to go on.

    Attributes:
        why: a HandoverReason.
        reason: for people, with CLIENT_GONE, CLIENT_SLOW and TRUNCATED.
        unread: the client's bytes, from the beginning of the request under way.
        began: when the first of them came, or None.
        started: when the request's head was complete, or None.
        request_id: that its server knows the request by; empty before one was picked.
        member: of the pool, the server whose slot is held and has to be given back; or None.
        transport: with FALLBACK, the server's connection if there is one; it has to be closed.
        reused: it was used before.
        stale: what has come on it had come before the request was sent; none of it was received.
        connect_error: number of the error that connecting has met, -1 for too late, else 0;
            EINPROGRESS: `transport` is not connected yet.
        unsent: bytes of the request that are to be sent on `transport` first.
        whole: all of the request was sent, or is in `unsent`.
        begun_body: bytes in `unread` of the request's body that were sent, or are in `unsent`.
        gone: bytes of a body that are not in `unread` any more: they were sent, or are in
            `unsent`; None: all that came is in `unread`.
        chunk: bytes of a chunked body's chunk that are still to be sent, where its size and no
            more than its data was sent, or is in `unsent`; else None.
        patience: seconds for which the sender of a large body that is under way may be waited for;
            None without one.
        server_waited: seconds for which the server has taken nothing of what is in `unsent`.
        received: bytes of the response that came on it.
        sent: when the request had been sent.
        collected: bytes of the request's body.
        status: of a response that the client has seen a part of, or 0.
        last: its head said that the connection ends with it.
        server_closes: and the server's head, that this one does.
        passed: bytes of its body that the client has got.
    """
