"""A message on its way from one side to the other: a written head, and a body in pieces."""

from libc.stdint cimport uint8_t, uint64_t

from trio_lb.fast.http1 cimport Body
from trio_lb.fast.loop cimport Buffer, Buffers, Channel, Pipe

cdef enum UntilClose:
    NOT_UNTIL_CLOSE
    AS_IT_COMES                 # to the end of the target's stream
    AS_CHUNKS

cdef struct Flow:
    Buffer head
    Buffer body                 # data[start:good] may go on; what is behind it is looked at later
    size_t good
    Pipe *pipe                  # the rest of a large body goes through it; NULL: nothing is in one
    bint flooding               # the last receive filled the buffer, or went through a pipe
    bint more                   # after it there may be more, without an edge
    bint much                   # it has done so before: a large buffer is worth it
    bint by_pipe                # what follows may: nobody else has to go on with it
    uint8_t until_close         # UntilClose: whether the end of the stream is that of the body
    uint8_t ended               # and it has come
    Body framing


# Receive behind what is held back, at most so many bytes, with more room while much comes; or into
# a pipe, if that may be, nothing is held back, and much of a body with a length is to come.
# NOTHING, FAILED, 0 at the end of the stream, or how many bytes came; `commit` looks at these.
cdef ssize_t fill(Flow *flow, Buffers buffers, Channel *source, uint64_t most) noexcept nogil
# The body that comes next goes on until the source's stream ends.
cdef void begin_until_close(Flow *flow, UntilClose how) noexcept nogil
# Let go on what is good of the body from `start` on.
cdef void commit(Flow *flow, size_t start) noexcept nogil
# Bytes that may go on.
cdef size_t waiting(const Flow *flow) noexcept nogil
# Send them; how many are left, also of those that the channel holds, or FAILED.
cdef ssize_t flush(Flow *flow, Buffers buffers, Channel *target) noexcept nogil
# Nothing more is there for now: hold no buffer, unless something is in it.
cdef void park(Flow *flow, Buffers buffers) noexcept nogil
# Give the buffers and the pipe back.
cdef void release(Flow *flow, Buffers buffers) noexcept nogil
