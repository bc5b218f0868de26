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
from libc.errno cimport EINPROGRESS
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from trio_lb.fast.http1 cimport ClientLines
from trio_lb.fast.loop cimport (
    BROKEN, discard, ENDED, held, HUNG_UP, NEVER, PEER_BROKEN, PEER_ENDED, peer_state, READABLE,
    Readiness, set_deadline, silent, TICK, WRITABLE,
)

import trio


@cython.final
@cython.auto_pickle(False)
cdef class ClientSide(Exchange):
    """One client's connection on the fast path; watched until `detach`.

    Args:
        path: of the process.
        fd: the client's socket.
        lines: what servers are told about this client.
        trusted: it is a proxy whose claims count.
        address: the client's, for records.
    """

    def __init__(
        self, FastPath path not None, int fd, ClientLines lines not None, bint trusted,
        bytes address not None,
    ):
        self.path = path
        self.began = self.started = self.ended_at = NEVER
        self.pace.patience = path.patience.body
        self.pace.rate = path.rate
        self.pace_of_body = self.pace
        path.readiness.watch(self, fd)      # and if it is ready already, that comes as an event
        self.lines = lines
        self.limits = &path.limits_of_trusted if trusted else &path.limits
        self.address = address

    async def run(self, bytes unread not None, uint64_t served):
        """Serve plain requests until there is something else to do; see `take_ending`.

        Args:
            unread: bytes that came from it already.
            served: requests that were served on this connection so far.
        """
        self.begin(unread, served)
        if self.state == AWAY:
            # What was begun must reach who settles it; cancellation comes right afterwards.
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.abort)

    def abort(self, _):
        self.task = None
        self.end(CANCELLED)
        return trio.lowlevel.Abort.SUCCEEDED

    def take_ending(self):
        """The Handover of the run that has ended."""
        ending, self.ending = self.ending, None
        return ending

    def drain(self):
        """Let the response under way be the last; if there is none, wait for no other request."""
        cdef Readiness readiness = self.path.readiness
        self.draining = True
        if self.state == READING and self.began == NEVER:
            # Not at once: a request may be on its way, and would be met by a reset.
            readiness.look_at_clock()
            set_deadline(readiness, self, min(
                readiness.deadlines[self.place], readiness.now + LAST_REQUEST))

    @property
    def idle_since(self):
        """From when on it has been waiting for a request; NEVER while it has one, or is away."""
        return self.idle_from if self.state == READING and self.began == NEVER else NEVER

    def let_go(self):
        """Give up waiting for a request; one that has come meanwhile is served all the same."""
        if self.state == READING and self.began == NEVER and silent(self.fd):
            self.end(CLOSED_IDLE)

    def detach(self):
        """The socket will be closed now."""
        self.path.readiness.forget(self, False)

    cdef int begin(self, bytes unread, uint64_t served) except -1:
        cdef FastPath path = self.path
        cdef size_t length = len(unread)
        path.readiness.look_at_clock()
        self.served = served
        self.state = READING
        self.pace.left = self.pace.patience
        if not length:
            self.await_request()
        elif not path.buffers.reserve(&self.request, length):
            self.end(FALLBACK)
            self.ending.unread = unread
        else:
            memcpy(self.request.data, <char *> unread, length)
            self.request.end = length
            parse(self)
        return 0

    cdef void on_ready(self, uint32_t events) noexcept:
        if events & (READABLE | ENDED | HUNG_UP | BROKEN):
            self.readable = True
            if events & ~(READABLE | WRITABLE):
                self.hung_up = True
        if events & (HUNG_UP | BROKEN) and self.state >= CONNECTING:
            self.end(CLIENT_GONE, "the client reset the connection")
        elif events & WRITABLE and self.blocked:
            self.blocked = False
            pay(&self.pace, self.path.readiness.now, self.fd)
            if self.state == RELAYING:
                relay(self)
        elif self.state == READING or self.state == COLLECTING:
            if self.readable:
                read_request(self)
        elif self.state == UPLOADING:
            pass_body_on(self)
        elif self.hung_up and (
                self.state == RELAYING
                or self.state == WAITING and self.path.readiness.now >= self.sent + PATIENCE):
            self.look_for_client()

    cdef void step(self) noexcept:
        if self.state == READING or self.state == COLLECTING:
            if held(&self.request) and self.began == NEVER:
                parse(self)             # came behind the last request
            elif self.readable:
                read_request(self)
        elif self.state == CONNECTING:
            finish_connecting(self)
        elif self.state == UPLOADING:
            pass_body_on(self)
        elif self.state == WAITING:
            read_response(self)
        elif self.state == RELAYING:
            relay(self)

    cdef void on_late(self) noexcept:
        cdef FastPath path = self.path
        cdef double now = path.readiness.now
        if self.state == READING:
            self.end(CLOSED_IDLE if self.began == NEVER else FALLBACK)
        elif self.state == COLLECTING:
            self.end(FALLBACK)
        elif self.state == CONNECTING:
            if self.server.head_start < path.patience.connect:
                self.connect_error = EINPROGRESS    # and the slow path waits for it
            else:
                self.connect_error = -1
                discard(self.upstream)
                self.upstream = None
            self.end(FALLBACK)
        elif self.state == UPLOADING:
            if not server_took_some(self):
                self.end(FALLBACK)
        elif self.state == WAITING:
            if now >= self.sent + path.patience.response - TICK:
                self.end(FALLBACK)
            else:
                self.wait_until(self.sent + path.patience.response - TICK)
        elif self.state == RELAYING:
            if not self.blocked and now >= self.moved + path.patience.body:
                self.end(TRUNCATED, "timed out while reading the response from the server")
            elif not self.blocked:
                self.wait_until(self.moved + path.patience.body)
            else:
                pay(&self.pace, now, self.fd)
                if self.pace.left <= 0.0:
                    self.end(CLIENT_SLOW, "the client was too slow to read the response")
                else:
                    set_deadline(path.readiness, self, now + self.pace.left)

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
        cdef int state = peer_state(self.fd)
        if state == PEER_BROKEN:
            self.end(CLIENT_GONE, "the client reset the connection")
        elif state == PEER_ENDED and self.state == WAITING:
            self.end(FALLBACK)
        elif state == PEER_ENDED and not self.blocked:
            if self.ended_at == NEVER:
                self.ended_at = path.readiness.now
            if path.readiness.now >= max(self.ended_at, self.moved) + path.patience.half_closed:
                self.end(CLIENT_GONE, "the client closed the connection before its response")
            else:
                set_deadline(path.readiness, self, min(
                    self.moved + path.patience.body,
                    max(self.ended_at, self.moved) + path.patience.half_closed))
