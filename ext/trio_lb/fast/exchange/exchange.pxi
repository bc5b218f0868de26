"""What is known of a client's run on the fast path, and how it ends; see exchange.pxd."""

cimport cython
from libc.stdint cimport uint64_t

from trio_lb.fast.http1 cimport Body, BODY_END, within_chunk
from trio_lb.fast.loop cimport discard, held, log_fault, NEVER, set_deadline, take_transport, TICK

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
            ending = self.hand_over(why, reason)
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

    cdef Handover hand_over(self, HandoverReason why, str reason):
        cdef Handover ending = Handover.__new__(Handover)
        ending.why = why
        ending.reason = reason
        ending.unread = as_bytes(self.request.data, self.request.start, self.request.end)
        ending.began = time_or_none(self.began)
        ending.started = time_or_none(self.started)
        ending.connect_error = self.connect_error
        ending.request_id = ending.unsent = ending.received = b""
        ending.collected = self.body_length() if self.server is not None else 0
        ending.status = self.status
        ending.last = self.status != 0 and self.last
        ending.server_closes = self.status != 0 and not self.reusable
        ending.passed = self.flow.framing.payload if self.status else 0
        if self.server is not None:
            ending.member = self.server.member
            ending.request_id = self.id_given()
        if self.upstream is not None:
            ending.reused = self.upstream.reused
            ending.stale = self.upstream.stale
            ending.sent = self.sent
            ending.unsent = self.rest_of_request()
            if self.uploading and self.state != CONNECTING:
                self.leave_upload(ending)
            else:
                ending.begun_body = self.body_length()
                ending.whole = True
            ending.received = as_bytes(
                self.flow.body.data, self.flow.good, self.flow.body.end)
            if why == FALLBACK:
                ending.transport = take_transport(self.upstream)
            else:
                discard(self.upstream)
        return ending

    cdef bytes rest_of_request(self):
        """What a server did not take at once."""
        cdef size_t body = self.request.start + self.head.length
        cdef size_t body_sent = max(self.flow.head.start, self.flow.head.end) - self.flow.head.end
        if self.state == WAITING or self.state == RELAYING:
            return b""
        if self.state == UPLOADING:
            return as_bytes(
                self.upload.head.data, self.upload.head.start, self.upload.head.end
            ) + as_bytes(self.upload.body.data, self.upload.body.start, self.upload.good)
        return as_bytes(self.flow.head.data, self.flow.head.start, self.flow.head.end) + as_bytes(
            self.request.data, body + body_sent,
            min(self.request.start + self.request_length, self.request.end))

    cdef int leave_upload(self, Handover ending) except -1:
        """What was kept of a streamed body is read again, or else only what did not go on."""
        cdef Body *framing = &self.upload.framing
        cdef size_t behind = self.request.start + self.request_length
        cdef bytes body = as_bytes(self.upload.body.data, self.upload.good, self.upload.body.end)
        cdef double now = self.path.readiness.now, left = self.pace_of_body.left
        if self.choked:
            ending.server_waited = now - self.choke.since + TICK
        else:
            left -= now - self.pace_of_body.since - TICK
        ending.whole = framing.state == BODY_END
        if within_chunk(framing):
            ending.chunk = framing.remaining
        if self.keeping:
            body = as_bytes(self.kept.data, self.kept.start, self.kept.end) + body
            ending.begun_body = framing.payload
        else:
            ending.gone = framing.payload
            if framing.chunked and ending.whole:
                body = b"0\r\n\r\n"    # nothing is behind what is gone
        ending.unread = as_bytes(self.request.data, self.request.start, behind) + body + as_bytes(
            self.request.data, behind, self.request.end)
        ending.patience = min(max(left, TICK), self.path.patience.body)
        return 0

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


cdef object time_or_none(double time):
    return None if time == NEVER else time


cdef bytes as_bytes(const char *data, size_t start, size_t end):
    return data[start:end] if start < end else b""
