"""Clients that are accepted, and served, without a task of their own; see acceptor.pxd.

Nothing of Python's is made for a client who is served on the fast path alone: neither a task nor a
socket, only a `ClientSide`. A task gets its connection when something is handed over, and keeps it
to its end.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint32_t

from trio_lb.fast.http1 cimport ClientLines
from trio_lb.fast.loop cimport (
    log_fault, readable_within, Watched, Wire,
)

import os
import trio

cdef extern from "accept.h" nogil:
    ctypedef struct TwoEnds "tlb_two_ends":
        pass
    int accept_client "tlb_accept"(int fd, bint both_ends, TwoEnds *ends, size_t *size)
    bint is_passing "tlb_is_passing"(int error)
    bint is_exhausted "tlb_is_exhausted"(int error)

cdef extern from "<unistd.h>" nogil:
    int close_descriptor "close"(int fd)

cdef enum:
    AT_ONCE = 64                # clients that are accepted before others get their turn
    MOST_ORIGINS = 4096         # whose lines are kept: many clients come again, and often


@cython.final
@cython.auto_pickle(False)
cdef class Origin:
    """What is known of clients by where they come from.

    Args:
        lines: what servers are told about them.
        heed: called with the fields of a request, if these are trusted proxies that claim something
            about its client: the Origin of that; None: nobody heeds what they say.
        address: theirs, for records.
        peer: of whom `Clients` asks the limit for an address; None: they are not limited.
    """

    def __cinit__(self, ClientLines lines not None, heed, bytes address not None, peer):
        self.lines = lines
        self.heed = heed
        self.address = address
        self.peer = peer


@cython.final
@cython.auto_pickle(False)
cdef class Clients:
    """The clients of a process that have no task.

    Args:
        path: where they are served.
        limiter: `try_acquire()` keeps a place for the next one, or says why there is none;
            `release()` gives one back.
        address_limit: `let_in(peer)` counts one of an address, or says False; `left(peer)`.
        give_task: called with a connection that needs one, its descriptor, the client's address
            and the ClientSide, or None where there is none. From then on it is the callee's, with
            its place.
    """

    def __cinit__(self, FastPath path not None, limiter, address_limit, give_task):
        self.path = path
        self.limiter = limiter
        self.address_limit = address_limit
        self.give_task = give_task

    def idle_before(self, double latest):
        """Those that have been waiting for a request since `latest`, or longer."""
        cdef ClientSide client
        return [client for client in self.present()
                if waits_for_request(client.exchange) and client.idle_from <= latest]

    def drain(self, emptied):
        """Let the responses under way be the last.

        Args:
            emptied: called when nobody is left, which may be at once.
        """
        cdef ClientSide client
        self.emptied = emptied
        self.draining = True
        for client in self.present():
            client.drain()
        if not self.count:
            emptied()

    def cancel(self):
        """End all connections at once; requests under way are given a task, to be counted."""
        cdef ClientSide client
        for client in self.present():
            client.end(CANCELLED)

    cdef int refuse(self, int fd) except -1:
        """Close a connection that has a place, and no more than that."""
        close_descriptor(fd)
        self.limiter.release()
        self.path.table.client_opened()
        self.path.table.client_closed()
        self.path.table.client_refused()
        return 0

    cdef list present(self):
        cdef uint32_t place
        cdef list found = []
        cdef void *watched
        for place in range(self.path.readiness.used):
            watched = self.path.readiness.entries[place].watched
            if watched is not NULL and isinstance(<object> watched, ClientSide) \
                    and (<ClientSide> watched).clients is self:
                found.append(<object> watched)
        return found

    cdef void close(self, ClientSide client) noexcept:
        cdef int fd = client.channel.fd
        client.unwatch(False)
        client.clients = None
        self.give_back(fd, client.origin)
        self.lose()

    cdef void give_back(self, int fd, Origin origin) noexcept:
        """Close a connection, and free its place."""
        close_descriptor(fd)
        try:
            self.path.table.client_closed()
            self.limiter.release()
            if origin.peer is not None:
                self.address_limit.left(origin.peer)
        except BaseException:
            log_fault("giving back a client's place")

    cdef void part(self, ClientSide client, int fd, Origin origin) noexcept:
        if client is not None:
            client.clients = None
        try:
            self.give_task(fd, origin.address, client)
        except BaseException:
            log_fault("giving a client's connection a task")
            if client is not None:
                client.unwatch(False)
            self.give_back(fd, origin)
        self.lose()

    cdef void lose(self) noexcept:
        self.count -= 1
        if self.draining and not self.count:
            try:
                self.emptied()
            except BaseException:
                log_fault("ending a drain")


@cython.final
@cython.auto_pickle(False)
cdef class Acceptor(Watched):
    """Accepts the clients of a listening socket; watched until `detach`.

    Args:
        clients: where they belong from then on.
        fd: the socket, non-blocking.
        describe: called with the packed IP address of a client, and if `both_ends` that of our end
            and our port behind it; empty for a unix socket. Its Origin.
        both_ends: what servers are told depends on our end of a connection as well.

    Raises:
        OSError: it can't be watched.
    """

    def __init__(self, Clients clients not None, int fd, describe, bint both_ends):
        self.clients = clients
        self.describe = describe
        self.both_ends = both_ends
        self.origins = {}
        clients.path.readiness.watch(self, fd, None)

    async def run(self, bint once):
        """Accept clients until something is lacking.

        Args:
            once: come back as soon as somebody was accepted.

        Returns:
            What is lacking, and whether it is descriptors; or None.

        Raises:
            OSError: accepting has failed for good.
        """
        self.once = once
        self.lack = self.failure = None
        self.task = trio.lowlevel.current_task()
        self.clients.path.readiness.again(self)     # who waits already
        await trio.lowlevel.wait_task_rescheduled(self.abort)
        if self.failure is not None:
            raise self.failure
        return self.lack

    def abort(self, _):
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def detach(self):
        """The socket will be closed now."""
        self.clients.path.readiness.forget(self, False)

    cdef void on_ready(self, uint32_t events) noexcept:
        self.step()

    cdef void step(self) noexcept:
        if self.task is None:
            return                                  # `run` looks by itself
        try:
            self.accept_some()
        except BaseException as exc:                # whatever it is, `run` raises it
            self.failure = exc
            self.stop()

    cdef int accept_some(self) except -1:
        cdef int number
        for number in range(AT_ONCE):
            if not self.accept_one():
                return 0
            if self.once:
                self.stop()
                return 0
        self.clients.path.readiness.again(self)
        return 0

    cdef bint accept_one(self) except -1:
        """False: nobody else is in the queue, or something is lacking."""
        cdef TwoEnds ends
        cdef size_t size
        cdef int fd
        reason = self.clients.limiter.try_acquire()
        if reason is not None:
            if readable_within(self.channel.fd, 0.0):
                self.lack = reason, False
                self.stop()
            return False
        fd = accept_client(self.channel.fd, self.both_ends, &ends, &size)
        if fd >= 0:
            self.welcome(fd, PyBytes_FromStringAndSize(<char *> &ends, size))
            return True
        number = errno
        self.clients.limiter.release()
        if is_passing(number):
            return True
        if is_exhausted(number):
            self.lack = os.strerror(number), True
            self.stop()
        elif number != EAGAIN:
            raise OSError(number, os.strerror(number))
        return False

    cdef int welcome(self, int fd, object key) except -1:
        """Serve a client that was accepted, for whom there is a place."""
        cdef Clients clients = self.clients
        cdef ClientSide client = ClientSide.__new__(ClientSide)
        cdef Origin origin
        try:
            origin = self.origin_of(key)
            if origin.peer is not None and not clients.address_limit.let_in(origin.peer):
                clients.refuse(fd)
                return 0
        except BaseException:
            clients.refuse(fd)
            raise
        clients.path.table.client_opened()
        clients.count += 1
        try:
            client.set_up(clients.path, fd, None, origin)
        except OSError:                 # it can't be watched: the slow path does without
            clients.part(None, fd, origin)
            return 0
        client.clients = clients
        client.begin(b"", 0)
        return 0

    cdef Origin origin_of(self, object key):
        cdef Origin origin = self.origins.get(key)
        if origin is None:
            origin = self.describe(key)
            if len(self.origins) >= MOST_ORIGINS:
                self.origins.clear()
            self.origins[key] = origin
        return origin

    cdef void stop(self) noexcept:
        """Wake `run` up."""
        task, self.task = self.task, None
        try:
            trio.lowlevel.reschedule(task)
        except BaseException:
            log_fault("waking who accepts clients")
