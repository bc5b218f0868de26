"""One request and its answer on the fast path; see exchange.pxd."""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memset

from trio_lb.fast.http1 cimport Body
from trio_lb.fast.loop cimport held, NEVER

cdef Body NO_BODY               # all zeros


cdef Exchange new_exchange(FastPath path):
    cdef Exchange exchange = Exchange.__new__(Exchange)
    exchange.path = path
    exchange.forget()
    return exchange


@cython.final
@cython.auto_pickle(False)
cdef class Exchange:
    """A request and its answer; lent to a client's connection that has one, again and again."""

    @property
    def memory(self):
        """All that is known of a request, as raw memory: the same whenever there is none."""
        return (<char *> &self.seen)[:<char *> &self.head - <char *> &self.seen]

    cdef uint64_t body_length(self) noexcept:
        cdef uint64_t here = min(self.request_length, <uint64_t> held(&self.client.input))
        if self.head.chunked:
            return self.upload.framing.payload
        return here - self.head.length + self.upload.framing.payload

    cdef bytes id_given(self):
        cdef Buffer *input = &self.client.input
        cdef const char *data = input.data + input.start + self.head.request_id.start
        if self.own_id_length:
            return self.own_id[:self.own_id_length]
        return data[:self.head.request_id.length]

    cdef void forget_kept(self) noexcept:
        self.path.buffers.give_back(&self.kept)
        self.kept.size = 0
        self.keeping = False

    cdef void forget(self) noexcept:
        if self.state == WAITING or self.state == RELAYING:
            self.path.readiness.under_way -= 1
        self.state = AWAY
        self.seen = 0
        self.began = self.started = NEVER
        self.route = None
        self.origin = None
        self.request_length = 0
        if self.uploading:
            self.forget_upload()
        self.upload.framing = self.flow.framing = NO_BODY
        memset(self.own_id, 0, self.own_id_length)
        self.own_id_length = 0
        self.server = None
        self.upstream = None
        self.connect_error = 0
        self.sent = self.moved = 0.0
        self.interims = 0
        self.looks = 0
        release(&self.flow, self.path.buffers)
        self.status = 0
        self.last = self.reusable = False

    cdef void forget_upload(self) noexcept:
        release(&self.upload, self.path.buffers)
        self.forget_kept()
        self.uploading = self.choked = False
        memset(&self.choke, 0, sizeof(MinimumRate))

    cdef void shift(self, double seconds) noexcept:
        """The loop stood still for so long."""
        if self.state == READING:
            self.began += seconds           # NEVER stays so
        elif self.state == UPLOADING:
            self.choke.since += seconds
        elif self.state == WAITING or self.state == RELAYING:
            self.sent = min(self.sent + seconds, self.path.readiness.clock.looked)
            self.moved += seconds
