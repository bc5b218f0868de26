"""Pipes for bytes that go from socket to socket without being copied.

Whether this system does (sandboxes may not) is tried once, and noticed if it no longer does.

A pipe is borrowed while there are bytes in it. So clients that keep up share one, and each of the
others has its own until it has taken what is in it.
"""

from libc.stdint cimport uint64_t

cdef enum:
    PIPE_SIZE = 1024 * 1024     # bytes; smaller ones are not worth it: see docs/performance.md
    MOST_PIPES = 16             # of a process; Linux lets a user without privileges have 64 MiB

cdef struct Pipe:
    size_t held                 # bytes in it
    int into                    # descriptors
    int out_of
    Pipe *below                 # in the pool

cdef class Pipes:
    """The pipes of a process."""
    cdef Pipe *free
    cdef int count              # open ones
    cdef int refusals           # requests that are still to be refused, as no pipe was to be had
    cdef int lent
    cdef int problem            # number of the error that a system has which can't do that, or 0

    # An empty one, or NULL if there is none.
    cdef Pipe *borrow(self) noexcept nogil
    # May be called without one. What is still in it is lost.
    cdef void give_back(self, Pipe *pipe) noexcept nogil
    # Close those that are not lent.
    cdef void close(self) noexcept nogil


cdef enum:
    UNABLE = -3                 # this system can't do that, and nothing has been moved

# Move what has come on a socket, at most `size` bytes, into a pipe that is empty. NOTHING, FAILED,
# UNABLE, 0 at the end of the stream, or how many bytes came. Less than asked for says nothing: a
# pipe may
# be full of small pieces.
cdef ssize_t splice_in(Pipe *pipe, int fd, uint64_t size) noexcept nogil
# Move all that a socket takes; how many bytes are left, FAILED, or UNABLE.
cdef ssize_t empty(Pipe *pipe, int fd) noexcept nogil
# Copy bytes of a pipe, which has some; how many, or FAILED.
cdef ssize_t copy(Pipe *pipe, char *data, size_t size) noexcept nogil
