"""What is known of a client's run on the fast path, and how it ends; see exchange.pxd."""

cimport cython
from libc.stdint cimport uint64_t

from trio_lb.fast.loop cimport discard, held, log_fault, NEVER, set_deadline

import trio

cdef double PATIENCE = 0.5
cdef double LAST_REQUEST = 1.0


@cython.auto_pickle(False)
cdef class Exchange(Watched):
    """Base of ClientSide, with what its stages share."""

    cdef void on_standstill(self, double seconds) noexcept:
        if self.state == READING:
            self.began += seconds           # NEVER stays so
        self.sent = min(self.sent + seconds, self.path.readiness.clock.looked)
        self.moved += seconds
        self.ended_at += seconds
        self.pace.since += seconds
        self.pace_of_body.since += seconds
        self.choke.since += seconds

    cdef void await_request(self) noexcept:
        cdef FastPath path = self.path
        cdef double patience = path.patience.client_head
        self.idle_from = path.readiness.now
        if self.served:
            patience = path.patience.keep_alive
        if self.draining:
            patience = min(patience, LAST_REQUEST)
        set_deadline(path.readiness, self, path.readiness.now + patience)
        if self.readable:
            path.readiness.again(self)

    cdef uint64_t body_length(self) noexcept:
        cdef uint64_t here = min(self.request_length, <uint64_t> held(&self.request))
        if self.head.chunked:
            return self.upload.framing.payload
        return here - self.head.length + self.upload.framing.payload

    cdef bytes id_given(self):
        cdef const char *data = self.request.data + self.request.start + self.head.request_id.start
        if self.own_id_length:
            return self.own_id[:self.own_id_length]
        return data[:self.head.request_id.length]

    cdef void end(self, HandoverReason why, str reason="") noexcept:
        cdef Handover ending
        cdef object task
        try:
            ending = hand_over(self, why, reason)
        except BaseException:       # out of memory, most likely: nothing is handed over
            log_fault("handing a request over")
            ending = self.path.failed
            if self.upstream is not None:
                discard(self.upstream)
            if self.server is not None:
                self.path.table.release_slot(self.server.slot)
        if self.state == WAITING or self.state == RELAYING:
            self.path.readiness.under_way -= 1
        self.reset()
        self.ending = ending
        task, self.task = self.task, None
        if task is not None:
            try:
                trio.lowlevel.reschedule(task)
            except BaseException:
                log_fault("waking a client's task")

    cdef void forget(self) noexcept:
        self.path.buffers.give_back(&self.kept)
        self.keeping = False

    cdef void reset(self) noexcept:
        cdef FastPath path = self.path
        path.buffers.give_back(&self.request)
        release(&self.flow, path.buffers)
        self.forget()
        release(&self.upload, path.buffers)
        self.upload.framing.payload = 0
        self.uploading = self.choked = False
        set_deadline(path.readiness, self, NEVER)
        self.state = AWAY
        self.server = None
        self.upstream = None
        self.connect_error = 0
        self.seen = 0
        self.began = self.started = NEVER
        self.status = 0
