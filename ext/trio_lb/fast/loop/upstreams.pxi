"""Connections to servers that both paths use; see upstreams.pxd.

Whether an idle connection is still good needs no question once readiness has looked at it: the end
of the stream, or bytes that nobody asked for, are an event, and whatever happens to an idle
connection ends it. Who has been idle for more than a moment is asked all the same, right before it
is used: an answer to nothing (408) that has come since that look would be taken for the next one.
"""

cimport cython
from libc.math cimport INFINITY


import logging

log = logging.getLogger("trio_lb.proxy")

MOMENT = 0.01


@cython.final
@cython.auto_pickle(False)
cdef class Upstream(Watched):

    cdef void on_ready(self, uint32_t events) noexcept:
        if events & (READABLE | ENDED | HUNG_UP | BROKEN):
            self.readable = True
            # Events of a batch were collected before anything was sent in it.
            if self.taken and self.taken == self.server.readiness.batch:
                self.stale = True
        if events & (ENDED | HUNG_UP | BROKEN):
            self.ended = True
        if events & BROKEN:
            self.broken = True
        if events & WRITABLE:
            self.writable = True
        if self.user is not None:
            self.user.step()
        elif self.readable:
            self.server.remove(self)
            discard(self)


cdef Upstream attend(Readiness readiness, Server server, object transport):
    cdef Upstream upstream = Upstream()
    cdef Wire wire = transport.wire
    upstream.transport = transport
    upstream.server = server
    upstream.born = transport.born
    readiness.watch(upstream, transport.fileno(), wire)
    return upstream


cdef object take_transport(Upstream upstream):
    upstream.user = None
    upstream.server.readiness.forget(upstream, True)
    return upstream.transport


cdef void discard(Upstream upstream) noexcept:
    upstream.user = None
    upstream.server.readiness.forget(upstream, False)   # closing the socket unregisters it
    try:
        upstream.transport.close()
    except BaseException:       # whatever it is, there is nobody to raise it to
        log_fault("closing the connection to a server")


cdef void log_fault(str doing) noexcept:
    try:
        log.exception("%s failed", doing)
    except BaseException:       # not even that: the exchange ends all the same
        pass


@cython.final
@cython.auto_pickle(False)
cdef class Server:
    """
    Args:
        readiness: of the process.
        slot: of the server in the table.
        member: which one of the pool it is, for Python; may be set later, like
        name: of the server in the profile.
        prefix: path of its URL, without a slash at its end.
        limit: idle connections kept.
        max_age: seconds after which a connection is not kept any longer, however busy it is.
        dial: called without arguments, begins to connect: a Transport, and the error number of
            connect(2); or None, if no address of the server is known. Raises OSError where
            there can be no socket.
        head_start: seconds after which the slow path goes on with what `dial` has begun.
    """

    def __init__(
        self, Readiness readiness not None, slot, member, bytes name not None,
        bytes prefix not None, limit, dial, double max_age=INFINITY,
        double head_start=INFINITY,
    ):
        self.readiness = readiness
        self.slot = slot
        self.member = member
        self.name = name
        self.prefix = prefix
        self.prefix_data = prefix
        self.prefix_length = len(prefix)
        self.limit = limit
        self.max_age = max_age
        self.dial = dial
        self.head_start = head_start

    def take_transport(self, double oldest):
        """The connection used last that is still good, if it became idle at `oldest` or later."""
        cdef Upstream upstream
        while (upstream := self.take(oldest)) is not None:
            if silent(&upstream.channel):
                return take_transport(upstream)
            discard(upstream)
        return None

    def keep_transport(self, transport, double now):
        """Keep a connection whose last exchange is complete on both sides, unless it is too old.

        Raises:
            OSError: it can't be watched, and is its caller's to close.
        """
        cdef Upstream upstream
        if self.idle >= self.limit or now - <double> transport.born >= self.max_age:
            transport.close()
            return
        upstream = attend(self.readiness, self, transport)
        if upstream.wire is not None and not silent(&upstream.channel):
            discard(upstream)       # no event tells what a wire holds already
            return
        upstream.since = now
        self.push(upstream)

    def expire(self, double now, double max_idle):
        """Close those that have been idle for longer than `max_idle`, or exist for too long."""
        cdef Upstream upstream = self.top, older
        while upstream is not None:
            older = upstream.below
            if upstream.since < now - max_idle or now - upstream.born >= self.max_age:
                self.remove(upstream)
                discard(upstream)
            upstream = older

    def keep_only(self, hosts):
        """Close the idle ones that lead to other addresses than these."""
        cdef Upstream upstream = self.top, older
        while upstream is not None:
            older = upstream.below
            if upstream.transport.peer not in hosts:
                self.remove(upstream)
                discard(upstream)
            upstream = older

    def dismiss(self):
        """Keep none of its connections any more: those in use are closed when they are not."""
        self.limit = 0
        self.close()

    def close(self):
        """Close them all."""
        while self.top is not None:
            discard(self.pop())

    cdef Upstream take(self, double oldest):
        if self.top is None or self.top.since < oldest:
            return None     # so are all below it
        cdef Upstream upstream = self.pop()
        upstream.reused = True
        upstream.taken = self.readiness.batch
        return upstream

    cdef void keep(self, Upstream upstream) noexcept:
        cdef double now = self.readiness.now
        upstream.user = None
        if self.idle >= self.limit or now - upstream.born >= self.max_age:
            discard(upstream)
            return
        upstream.since = now
        self.push(upstream)

    cdef void push(self, Upstream upstream) noexcept:
        upstream.batch = self.readiness.batch
        upstream.below = self.top
        if self.top is not None:
            self.top.above = <void *> upstream
        self.top = upstream
        self.idle += 1

    cdef Upstream pop(self):
        cdef Upstream upstream = self.top
        self.top = upstream.below
        if self.top is not None:
            self.top.above = NULL
        upstream.below = None
        self.idle -= 1
        return upstream

    cdef void remove(self, Upstream upstream) noexcept:
        cdef Upstream above, below = upstream.below
        if upstream is self.top:
            self.pop()
            return
        above = <Upstream> upstream.above
        above.below = below
        if below is not None:
            below.above = upstream.above
        upstream.below = None
        upstream.above = NULL
        self.idle -= 1
