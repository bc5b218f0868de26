"""The fast path: requests on their sunny day, without a task switch.

A `ClientSide` is the state machine of one client's connection. The connection's own Trio task
sleeps in `run` and owns it; the readiness task steps it, request after request, as bytes come and
go. A step is at most one receive, one send, one buffer.

    READING ─► COLLECTING ─► picked ─► CONNECTING ─► UPLOADING ─► WAITING ─► RELAYING ─┐
       ▲       a small body    └── or reused ─────► a large or   for a       a response │
       │                                            chunked one  response               │
       └───────────────────────────────── the next request ─────────────────────────────┘

There is no policy of failure here. What isn't plain, and whatever fails before the client has seen
a byte, ends the run with a `Handover`: the request's bytes, and the server's connection as it is.
The slow path goes on with them, meets the same end of stream, timeout or odd head that was met
here, and applies its rules. (What is late is handed over a tick of the sweep early, so that it is
late there by no more than usual.)
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from trio_lb.fast.loop cimport (
    BROKEN, discard, ENDED, held, HUNG_UP, log_fault, NEVER, PEER_BROKEN, PEER_ENDED,
    nothing_unread, peer_state, READABLE, Readiness, reset_on_close, set_deadline, silent, TICK,
    Wire, WRITABLE,
)

import trio

cdef double PATIENCE = 0.5
cdef double LAST_REQUEST = 1.0


@cython.final
@cython.auto_pickle(False)
cdef class ClientSide(Watched):
    """One client's connection on the fast path; watched until `detach`.

    What it knows of a request is in `exchange`.

    Args:
        path: of the process.
        fd: the client's socket.
        wire: what is between that and the client's bytes, or None.
        origin: what is known of the client.
    """

    def __init__(self, FastPath path not None, int fd, Wire wire, Origin origin not None):
        self.set_up(path, fd, wire, origin)

    cdef int set_up(self, FastPath path, int fd, Wire wire, Origin origin) except -1:
        self.path = path
        self.ended_at = NEVER
        self.read_credit.patience = path.patience.body
        self.read_credit.rate = path.rate
        self.send_credit = self.read_credit
        self.exchange = path.away
        path.readiness.watch(self, fd, wire)    # and if it is ready already, that comes as an event
        self.origin = origin
        return 0

    async def run(self, bytes unread not None, uint64_t served):
        """Serve plain requests until there is something else to do; see `take_ending`.

        Args:
            unread: bytes that came from it already.
            served: requests that were served on this connection so far.
        """
        self.begin(unread, served)
        if self.exchange.state == AWAY:
            # What was begun must reach who settles it; cancellation comes right afterwards.
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.abort)

    def abort(self, _):
        self.task = None
        self.end(CANCELLED)
        return trio.lowlevel.Abort.SUCCEEDED

    @property
    def ended(self):
        """Whether there is a Handover to be taken."""
        return self.ending is not None

    def take_ending(self):
        """The Handover of the run that has ended."""
        ending, self.ending = self.ending, None
        return ending

    def drain(self):
        """Let the response under way be the last; if there is none, wait for no other request."""
        cdef Readiness readiness = self.path.readiness
        self.draining = True
        if waits_for_request(self.exchange):
            # Not at once: a request may be on its way, and would be met by a reset.
            readiness.look_at_clock()
            set_deadline(readiness, self, min(
                readiness.deadlines[self.place], readiness.now + LAST_REQUEST))

    @property
    def idle_since(self):
        """From when on it has been waiting for a request; NEVER while it has one, or is away."""
        return self.idle_from if waits_for_request(self.exchange) else NEVER

    def evict(self):
        """Give up waiting for a request; one that has come meanwhile is served all the same."""
        if waits_for_request(self.exchange) and silent(&self.channel):
            self.end(CLOSED_IDLE)

    def detach(self):
        """It will be closed, or watched by somebody else."""
        self.unwatch(True)

    cdef void unwatch(self, bint unregister) noexcept:
        self.path.readiness.forget(self, unregister)
        self.lose_exchange(self.path.away)

    cdef int begin(self, bytes unread, uint64_t served) except -1:
        cdef FastPath path = self.path
        cdef size_t length = len(unread)
        path.readiness.look_at_clock()
        self.served = served
        if self.wire is not None:
            self.readable = True        # no event tells what it holds already
        if not length:
            self.await_request()
        elif not path.buffers.reserve(&self.input, length):
            self.end(FALLBACK)
            self.ending.unread = unread
        else:
            memcpy(self.input.data, <char *> unread, length)
            self.input.end = length
            self.exchange = path.idle
            parse(self)
        return 0

    cdef void await_request(self) noexcept:
        cdef FastPath path = self.path
        cdef double patience = path.patience.head
        if held(&self.input) and self.exchange.client is not None:
            self.exchange.state = READING
        else:
            self.lose_exchange(path.idle)
        self.idle_from = path.readiness.now
        if self.served:
            patience = path.patience.keep_alive
        if self.draining:
            patience = min(patience, LAST_REQUEST)
        set_deadline(path.readiness, self, path.readiness.now + patience)
        if self.readable or held(&self.input):
            path.readiness.again(self)
        if not held(&self.input):
            path.buffers.give_back(&self.input)

    cdef void end(self, HandoverReason why, str reason="") noexcept:
        cdef Exchange exchange = self.exchange
        cdef Handover ending
        cdef object task
        if exchange.state == RELAYING and exchange.flow.until_close == AS_IT_COMES:
            reset_on_close(self.channel.fd)     # nothing else tells that it is not complete
        if self.clients is not None and self.closes(why):
            self.forget()
            self.clients.close(self)
            return
        try:
            ending = hand_over(self, why, reason)
        except BaseException:       # out of memory, most likely: nothing is handed over
            log_fault("handing a request over")
            ending = self.path.failed
            if exchange.upstream is not None:
                discard(exchange.upstream)
            if exchange.server is not None:
                self.path.table.release_slot(exchange.server.slot)
        self.forget()
        self.ending = ending
        task, self.task = self.task, None
        if task is not None:
            try:
                trio.lowlevel.reschedule(task)
            except BaseException:
                log_fault("waking a client's task")
        elif self.clients is not None:
            self.clients.part(self, self.channel.fd, self.origin)

    cdef bint closes(self, HandoverReason why) noexcept:
        if why == SERVED:
            return not held(&self.input) and nothing_unread(&self.channel)
        return why == CLOSED_IDLE or why != FALLBACK and self.exchange.started == NEVER

    cdef void forget(self) noexcept:
        """Have nothing of a client's requests, and no deadline."""
        if self.exchange.client is not None:
            self.exchange.forget()
        self.lose_exchange(self.path.away)
        self.path.buffers.give_back(&self.input)
        set_deadline(self.path.readiness, self, NEVER)

    cdef void lose_exchange(self, Exchange instead) noexcept:
        """Have none of its own, after it was made to forget the last request."""
        if self.exchange.client is not None:
            self.path.take_back(self.exchange)
        self.exchange = instead

    cdef void on_ready(self, uint32_t events) noexcept:
        cdef State state = self.exchange.state
        if events & (READABLE | ENDED | HUNG_UP | BROKEN):
            self.readable = True
            if events & ~(READABLE | WRITABLE):
                self.hung_up = True
        if events & (HUNG_UP | BROKEN) and state >= CONNECTING:
            self.end(CLIENT_GONE, "the client reset the connection")
        elif events & WRITABLE and self.blocked:
            self.blocked = False
            pay(&self.read_credit, self.path.readiness.now, self.channel.fd)
            if state == RELAYING:
                relay(self.exchange)
        elif state == READING or state == COLLECTING:
            if self.readable:
                read_request(self)
        elif state == UPLOADING:
            pass_body_on(self.exchange)
        elif self.hung_up and (
                state == RELAYING or state == WAITING
                and self.path.readiness.now >= self.exchange.sent + PATIENCE):
            self.look_for_client()

    cdef void step(self) noexcept:
        cdef State state = self.exchange.state
        if state == READING or state == COLLECTING:
            if held(&self.input) and self.exchange.began == NEVER:
                parse(self)             # came behind the last request
            elif self.readable:
                read_request(self)
        elif state == CONNECTING:
            finish_connecting(self.exchange)
        elif state == UPLOADING:
            pass_body_on(self.exchange)
        elif state == WAITING:
            read_response(self.exchange)
        elif state == RELAYING:
            relay(self.exchange)

    cdef void on_late(self) noexcept:
        cdef FastPath path = self.path
        cdef Exchange exchange = self.exchange
        cdef double now = path.readiness.now
        if exchange.state == READING:
            self.end(CLOSED_IDLE if exchange.began == NEVER else FALLBACK)
        elif exchange.state == COLLECTING:
            self.end(FALLBACK)
        elif exchange.state == CONNECTING:
            give_up_connecting(exchange)
        elif exchange.state == UPLOADING:
            if not server_took_some(exchange):
                self.end(FALLBACK)
        elif exchange.state == WAITING:
            if now >= exchange.sent + exchange.route.response_timeout - TICK:
                self.end(FALLBACK)
            else:
                self.wait_until(exchange.sent + exchange.route.response_timeout - TICK)
        elif exchange.state == RELAYING:
            self.on_late_response(now)

    cdef void on_late_response(self, double now) noexcept:
        cdef FastPath path = self.path
        cdef Exchange exchange = self.exchange
        if not self.blocked and now >= exchange.moved + path.patience.body:
            self.end(TRUNCATED, "timed out while reading the response from the server")
        elif not self.blocked:
            self.wait_until(exchange.moved + path.patience.body)
        else:
            pay(&self.read_credit, now, self.channel.fd)
            if self.read_credit.left <= 0.0:
                self.end(CLIENT_SLOW, "the client was too slow to read the response")
            else:
                set_deadline(path.readiness, self, now + self.read_credit.left)

    cdef void on_standstill(self, double seconds) noexcept:
        self.exchange.shift(seconds)
        self.ended_at += seconds
        self.read_credit.since += seconds
        self.send_credit.since += seconds

    cdef void wait_until(self, double when) noexcept:
        """Wait on for a server, and look for the client where no event would tell of its end."""
        cdef Readiness readiness = self.path.readiness
        if not self.hung_up:
            set_deadline(readiness, self, when)
            return
        set_deadline(readiness, self, min(readiness.now + PATIENCE, when))
        self.look_for_client()

    cdef void look_for_client(self) noexcept:
        """A server takes its time: is anybody still there for its answer?

        Whoever has only ended its direction may read on: see trio_lb.proxy.departures.
        """
        cdef FastPath path = self.path
        cdef Exchange exchange = self.exchange
        cdef int state = peer_state(self.channel.fd)
        if state == PEER_BROKEN:
            self.end(CLIENT_GONE, "the client reset the connection")
        elif state == PEER_ENDED and exchange.state == WAITING:
            self.end(FALLBACK)
        elif state == PEER_ENDED and not self.blocked:
            if self.ended_at == NEVER:
                self.ended_at = path.readiness.now
            if path.readiness.now >= max(
                    self.ended_at, exchange.moved) + path.patience.half_closed:
                self.end(CLIENT_GONE, "the client closed the connection before its response")
            else:
                set_deadline(path.readiness, self, min(
                    exchange.moved + path.patience.body,
                    max(self.ended_at, exchange.moved) + path.patience.half_closed))


cdef inline bint waits_for_request(Exchange exchange) noexcept:
    """Nothing of a next one has come."""
    return exchange.state == READING and exchange.began == NEVER
