"""A tunnel: two connections whose bytes go from one to the other; see tunnel.pxd.

The rules are those of trio_lb.proxy.tunnel, whose task sleeps in `run` until all is over. A turn is
one receive and one send, in a buffer that is borrowed for it. What could not be sent keeps the
buffer, and until it has left nothing more is received from that side.
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from trio_lb.fast.loop cimport (
    Buffer, Buffers, came_after, FAILED, held, log_fault, NEVER, NOTHING, READABLE, receive,
    send_both, set_deadline, SMALL, WRITABLE,
)

import trio

cdef extern from "<sys/socket.h>" nogil:
    int SHUT_WR
    int shutdown(int fd, int how)


@cython.final
@cython.auto_pickle(False)
cdef class TunnelSide(Watched):

    cdef void on_ready(self, uint32_t events) noexcept:
        if events & ~WRITABLE:
            self.readable = True
        if events & ~(READABLE | WRITABLE):
            self.leaving = True
        if events & ~READABLE and held(&self.other.rest):
            self.other.flush_rest()
        self.step()

    cdef void step(self) noexcept:
        if self.tunnel is not None and self.readable and not self.ended and not held(&self.rest):
            self.pass_some()

    cdef void on_late(self) noexcept:
        cdef Tunnel tunnel = self.tunnel
        cdef double now = tunnel.path.readiness.now
        if self.other.waiting:      # something has come, and its turn is before that of this
            set_deadline(tunnel.path.readiness, self, now)
        elif tunnel.moved + tunnel.idle <= now:
            tunnel.end(IDLE)
        else:
            set_deadline(tunnel.path.readiness, self, tunnel.moved + tunnel.idle)

    cdef void on_standstill(self, double seconds) noexcept:
        if self is self.tunnel.client:
            self.tunnel.moved += seconds
            self.tunnel.asked += seconds        # NEVER stays so

    cdef void pass_some(self) noexcept:
        cdef Tunnel tunnel = self.tunnel
        cdef Buffers buffers = tunnel.path.buffers
        cdef bint more = False
        cdef ssize_t count
        if not buffers.borrow(&self.rest, SMALL):
            tunnel.end(NO_MEMORY)
            return
        count = receive(&self.channel, &self.rest, SMALL, &more)
        if count > 0:
            tunnel.moved = tunnel.path.readiness.now
            self.readable = more or self.leaving
            if self is tunnel.server and tunnel.asked != NEVER:
                came_after(tunnel.path.readiness, tunnel.moved - tunnel.asked)
                tunnel.end_waiting()
            self.flush_rest()
            return
        buffers.give_back(&self.rest)
        if count == NOTHING:
            self.readable = False
        elif count == FAILED:
            tunnel.end(CLIENT_BROKE_OFF if self is tunnel.client else SERVER_BROKE_OFF)
        else:
            tunnel.moved = tunnel.path.readiness.now
            if self is tunnel.server and tunnel.server_ended is not None:
                tunnel.tell_server_ended()
            self.finish()

    cdef void flush_rest(self) noexcept:
        cdef Tunnel tunnel = self.tunnel
        cdef TunnelSide target = self.other
        cdef ssize_t count = send_both(
            &target.channel, self.rest.data + self.rest.start, held(&self.rest), NULL, 0)
        if count > 0:
            tunnel.moved = tunnel.path.readiness.now
            self.moved += count
            self.rest.start += count
            if target is tunnel.server and tunnel.asked == NEVER:
                tunnel.begin_waiting()
        if count == FAILED or not held(&self.rest):
            tunnel.path.buffers.give_back(&self.rest)
        if count != FAILED:
            if self.readable and not held(&self.rest):
                tunnel.path.readiness.again(self)
        elif target.ended:
            # Who has ended may close as well: what is sent to it then has no reader, and nothing
            # that it sent is lost.
            self.finish()
        else:
            tunnel.end(CLIENT_BROKE_OFF if target is tunnel.client else SERVER_BROKE_OFF)

    cdef void finish(self) noexcept:
        """Nothing more goes from this side to the other: tell that one."""
        cdef Tunnel tunnel = self.tunnel
        shutdown(self.other.channel.fd, SHUT_WR)
        self.ended = True
        if self.other.ended:
            tunnel.end(BOTH_ENDED)
            return
        tunnel.idle = min(tunnel.idle, tunnel.half_closed)
        set_deadline(tunnel.path.readiness, tunnel.client, tunnel.moved + tunnel.idle)


@cython.final
@cython.auto_pickle(False)
cdef class Tunnel:
    """A tunnel between the connections of a client and a server; watched until it ends.

    Args:
        path: of the process.
        client, server: their plain sockets, which nobody else watches.
        from_client, from_server: what has come of them already.
        idle: seconds without a byte in either direction after which it is cut.
        half_closed: the same when one side has ended.
        server_ended: called when the server has sent its last byte; or None.

    Raises:
        OSError: a socket can't be watched.
        MemoryError: there is no room for what has come already.
    """

    def __init__(
        self, FastPath path not None, int client, int server, bytes from_client not None,
        bytes from_server not None, double idle, double half_closed, server_ended,
    ):
        self.path = path
        self.idle = idle
        self.half_closed = half_closed
        self.server_ended = server_ended
        self.asked = NEVER
        self.client = TunnelSide.__new__(TunnelSide)
        self.server = TunnelSide.__new__(TunnelSide)
        self.client.other = self.server
        self.server.other = self.client
        self.client.tunnel = self.server.tunnel = self
        try:
            take_early(path.buffers, &self.client.rest, from_client)
            take_early(path.buffers, &self.server.rest, from_server)
            self.watch(client, server)
        except BaseException:
            self.let_go()
            raise

    async def run(self):
        """Pass bytes both ways until the tunnel has ended.

        Returns:
            Its TunnelOutcome. Unless both sides have ended, the caller has to reset both.
        """
        cdef Readiness readiness = self.path.readiness
        try:
            readiness.look_at_clock()
            self.moved = readiness.now
            set_deadline(readiness, self.client, self.moved + self.idle)
            send_early(self.server)
            send_early(self.client)
            if self.client.tunnel is None:
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                self.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self.abort)
            return self.outcome
        finally:
            self.let_go()

    def abort(self, _):
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    @property
    def up(self):
        """Bytes that went from the client to the server."""
        return self.client.moved

    @property
    def down(self):
        """Bytes that went from the server to the client."""
        return self.server.moved

    cdef int watch(self, int client, int server) except -1:
        # If one is ready already, that comes as an event.
        self.path.readiness.watch(self.client, client, None)
        try:
            self.path.readiness.watch(self.server, server, None)
        except OSError:
            self.path.readiness.forget(self.client, True)
            raise
        return 0

    cdef void begin_waiting(self) noexcept:
        """As with a request: it is worth to wait for several answers at a time."""
        self.asked = self.moved
        self.path.readiness.under_way += 1

    cdef void end_waiting(self) noexcept:
        if self.asked != NEVER:
            self.asked = NEVER
            self.path.readiness.under_way -= 1

    cdef void tell_server_ended(self) noexcept:
        try:
            self.server_ended()
        except BaseException:       # whatever it is, there is nobody to raise it to
            log_fault("noting the end of a server's side of a tunnel")

    cdef void end(self, TunnelOutcome outcome) noexcept:
        self.outcome = outcome
        self.let_go()
        task, self.task = self.task, None
        if task is not None:
            try:
                trio.lowlevel.reschedule(task)
            except BaseException:
                log_fault("waking a tunnel's task")

    cdef void let_go(self) noexcept:
        self.end_waiting()
        part(self.path, self.client)
        part(self.path, self.server)


cdef int take_early(Buffers buffers, Buffer *rest, bytes early) except -1:
    """Have what came early go first."""
    cdef size_t size = len(early)
    if size:
        if not buffers.reserve(rest, size):
            raise MemoryError
        memcpy(rest.data, <char *> early, size)
        rest.end = size
    return 0


cdef void send_early(TunnelSide side) noexcept:
    if side.tunnel is not None and held(&side.rest):
        side.flush_rest()


cdef void part(FastPath path, TunnelSide side) noexcept:
    path.readiness.forget(side, False)      # closing the socket unregisters it
    path.buffers.give_back(&side.rest)
    side.tunnel = side.other = None
