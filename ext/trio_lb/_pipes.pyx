"""Pipes for bytes that go from socket to socket without being copied; see _pipes.pxd."""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc

from trio_lb._sockets cimport FAILED, NOTHING

cdef extern from "_system.h" nogil:
    bint open_pipe "tlb_open_pipe"(int *ends, int size)
    ssize_t move_once "tlb_move"(int source, int target, size_t size)

cdef extern from "<unistd.h>" nogil:
    int close_descriptor "close"(int fd)

cdef enum:
    REFUSALS = 1000             # then the system is asked again: others may have given some back


@cython.final
@cython.auto_pickle(False)
cdef class Pipes:

    def __dealloc__(self):
        self.close()

    cdef Pipe *borrow(self) noexcept nogil:
        cdef Pipe *pipe = self.free
        if pipe is not NULL:
            self.free = pipe.below
        elif self.count == MOST_PIPES:
            return NULL
        elif self.refusals:
            self.refusals -= 1
            return NULL
        else:
            pipe = make()
            if pipe is NULL:
                self.refusals = REFUSALS
                return NULL
            self.count += 1
        self.lent += 1
        return pipe

    cdef void give_back(self, Pipe *pipe) noexcept nogil:
        if pipe is NULL:
            return
        self.lent -= 1
        if pipe.held:
            self.count -= 1
            scrap(pipe)
        else:
            pipe.below = self.free
            self.free = pipe

    cdef void close(self) noexcept nogil:
        cdef Pipe *pipe
        while self.free is not NULL:
            pipe = self.free
            self.free = pipe.below
            self.count -= 1
            scrap(pipe)


cdef Pipe *make() noexcept nogil:
    cdef int[2] ends
    cdef Pipe *pipe = <Pipe *> malloc(sizeof(Pipe))
    if pipe is NULL:
        return NULL
    if not open_pipe(ends, PIPE_SIZE):
        free(pipe)
        return NULL
    pipe.out_of = ends[0]
    pipe.into = ends[1]
    pipe.held = 0
    return pipe


cdef void scrap(Pipe *pipe) noexcept nogil:
    close_descriptor(pipe.into)
    close_descriptor(pipe.out_of)
    free(pipe)


cdef ssize_t fill(Pipe *pipe, int fd, size_t size) noexcept nogil:
    cdef ssize_t count = move(fd, pipe.into, min(size, <size_t> PIPE_SIZE))
    if count > 0:
        pipe.held = count
    return count


cdef ssize_t empty(Pipe *pipe, int fd) noexcept nogil:
    cdef ssize_t count
    while pipe.held:
        count = move(pipe.out_of, fd, pipe.held)
        if count == NOTHING:
            break
        if count <= 0:
            return FAILED
        pipe.held -= count
    return pipe.held


cdef ssize_t move(int source, int target, size_t size) noexcept nogil:
    cdef ssize_t count
    while True:
        count = move_once(source, target, size)
        if count >= 0:
            return count
        if errno != EINTR:
            return NOTHING if errno == EAGAIN else FAILED
