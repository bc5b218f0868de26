"""Pipes for bytes that go from socket to socket without being copied; see pipes.pxd."""

cimport cython
from libc.errno cimport EACCES, EAGAIN, EINTR, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc


cdef extern from "<fcntl.h>" nogil:
    """
    #include <unistd.h>
    /* A pipe with so much room, which never waits; false if there is none to be had. */
    static inline int tlb_open_pipe(int ends[2], int size) {
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return 0;
        if (fcntl(ends[1], F_SETPIPE_SZ, size) >= size) return 1;
        close(ends[0]);             /* there is a limit for all pipes of a user */
        close(ends[1]);
        return 0;
    }
    /* Move bytes between such a pipe and a socket; like read(2) and write(2). */
    static inline ssize_t tlb_move(int source, int target, size_t size) {
        return splice(source, NULL, target, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    }
    """
    bint open_pipe "tlb_open_pipe"(int *ends, int size)
    ssize_t move_once "tlb_move"(int source, int target, size_t size)

cdef extern from "<unistd.h>" nogil:
    int close_descriptor "close"(int fd)
    ssize_t read_descriptor "read"(int fd, void *data, size_t size)
    ssize_t write_descriptor "write"(int fd, const void *data, size_t size)

cdef extern from "<sys/socket.h>" nogil:
    int AF_UNIX, SOCK_STREAM
    int socketpair(int family, int kind, int protocol, int *ends)

cdef enum:
    REFUSALS = 1000             # then the system is asked again: others may have given some back


@cython.final
@cython.auto_pickle(False)
cdef class Pipes:

    def __cinit__(self):
        self.problem = problem_here()

    def __dealloc__(self):
        self.close()

    cdef Pipe *borrow(self) noexcept nogil:
        cdef Pipe *pipe = self.free
        if self.problem:
            return NULL
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


cdef int problem_here() noexcept nogil:
    """Move a byte from a socket to another one; the number of the error that shows it can't be."""
    cdef int[2] ends
    cdef ssize_t moved
    cdef int problem = 0
    cdef Pipe *pipe = make()
    if pipe is NULL:
        return 0                # nor will there be one later, or there will: that is no answer
    if socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0:
        if write_descriptor(ends[0], b"", 1) == 1:
            moved = splice_in(pipe, ends[1], 1)
            if moved == 1:
                moved = empty(pipe, ends[0])
            if moved == UNABLE:
                problem = errno
        close_descriptor(ends[0])
        close_descriptor(ends[1])
    scrap(pipe)
    return problem


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


cdef ssize_t splice_in(Pipe *pipe, int fd, uint64_t size) noexcept nogil:
    cdef ssize_t count = move(fd, pipe.into, <size_t> min(size, <uint64_t> PIPE_SIZE))
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
            return UNABLE if count == UNABLE else FAILED
        pipe.held -= count
    return pipe.held


cdef ssize_t copy(Pipe *pipe, char *data, size_t size) noexcept nogil:
    cdef ssize_t count
    while True:
        count = read_descriptor(pipe.out_of, data, min(size, pipe.held))
        if count > 0:
            pipe.held -= count
            return count
        if count == 0 or errno != EINTR:
            return FAILED


cdef ssize_t move(int source, int target, size_t size) noexcept nogil:
    cdef ssize_t count
    while True:
        count = move_once(source, target, size)
        if count >= 0:
            return count
        if errno in (EINVAL, ENOSYS, EPERM, EACCES, EOPNOTSUPP):
            return UNABLE
        if errno != EINTR:
            return NOTHING if errno == EAGAIN else FAILED
