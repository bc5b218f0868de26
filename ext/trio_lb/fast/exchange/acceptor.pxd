"""Clients that are accepted, and served, without a task of their own: C-level interface."""

from libc.stdint cimport uint32_t

from trio_lb.fast.http1 cimport ClientLines
from trio_lb.fast.loop cimport Watched

cdef class ClientSide(Watched)


cdef class Origin:
    cdef ClientLines lines
    cdef object heed            # what trusted proxies say of others; None: they are not trusted
    cdef bytes address
    cdef object peer            # whom the limit for an address counts; None: there is no limit


cdef class Clients:
    cdef FastPath path
    cdef object limiter
    cdef object address_limit
    cdef object give_task
    cdef object emptied
    cdef readonly uint32_t count
    cdef bint draining

    # The connection of a client that has no task has ended: close it, and count it no more.
    cdef void close(self, ClientSide client) noexcept
    # It needs a task from now on; whatever its run on the fast path left is in its `ending`.
    cdef void part(self, ClientSide client, int fd, Origin origin) noexcept
    cdef void give_back(self, int fd, Origin origin) noexcept
    cdef int refuse(self, int fd) except -1
    cdef void lose(self) noexcept
    cdef list present(self)


cdef class Acceptor(Watched):
    cdef Clients clients
    cdef object describe
    cdef bint both_ends
    cdef dict origins
    cdef object task            # that sleeps in `run`
    cdef bint once
    cdef object lack
    cdef object failure

    cdef int accept_some(self) except -1
    cdef bint accept_one(self) except -1
    cdef int welcome(self, int fd, object key) except -1
    cdef Origin origin_of(self, object key)
    cdef void stop(self) noexcept
