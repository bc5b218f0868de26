"""A message on its way from one side to the other; see flow.pxd."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memmove

from libc.errno cimport errno

from trio_lb.fast.http1 cimport (
    begin_body_until_close, BODY_END, BODY_MORE, end_body, feed_body, pass_by, put_text,
)
from trio_lb.fast.loop cimport (
    Buffer, Buffers, Channel, copy, empty, FAILED, held, LARGE, NOTHING, receive, send_both,
    SMALL, splice_in, UNABLE, unsent,
)


cdef enum:
    SHORT = 1024                # bytes that are copied behind a head faster than sent as a piece
    WORTH_A_PIPE = 128 * 1024   # bytes to come from which on a pipe is worth it
    ROOM_BEFORE = 8             # bytes: for the size of a chunk, of at most LARGE, and CRLF
    ROOM_BEHIND_A_CHUNK = 8     # bytes: for CRLF, and the last chunk


cdef ssize_t fill(Flow *flow, Buffers buffers, Channel *source, uint64_t most) noexcept nogil:
    cdef Buffer *body = &flow.body
    cdef size_t room
    cdef ssize_t count
    if flow.flooding and flow.by_pipe and may_go_unseen(flow):
        flow.pipe = buffers.pipes.borrow()
        if flow.pipe is not NULL:
            count = fill_unseen(flow, buffers, source.fd)
            flow.more = True
            if count != UNABLE:
                return count
            buffers.pipes.problem = errno   # nothing is lost: it is copied, and so are all others
    if flow.flooding:
        flow.much = True
    if flow.much:
        buffers.reserve(body, LARGE)    # or not, if there are none
    if not buffers.reserve(body, held(body) + 1):
        return FAILED
    room = body.size - body.end
    if flow.until_close == AS_CHUNKS:                  # then nothing is held back
        body.start = body.end = ROOM_BEFORE
        room = body.size - ROOM_BEFORE - ROOM_BEHIND_A_CHUNK
    flow.good = body.start              # what was held back has moved to the front
    room = min(room, most)
    count = receive(source, body, room, &flow.more)
    flow.flooding = count == <ssize_t> room
    if count == NOTHING:
        park(flow, buffers)
    return count


cdef inline bint may_go_unseen(const Flow *flow) noexcept nogil:
    """Nothing waits, and all that comes next is the body's."""
    return (
        not held(&flow.body) and flow.framing.state == BODY_MORE
        and not flow.framing.chunked and flow.framing.remaining >= WORTH_A_PIPE
        and flow.until_close != AS_CHUNKS)


cdef ssize_t fill_unseen(Flow *flow, Buffers buffers, int fd) noexcept nogil:
    """Receive into the pipe, which is empty."""
    cdef ssize_t count
    buffers.give_back(&flow.body)
    flow.good = 0
    count = splice_in(flow.pipe, fd, flow.framing.remaining)
    if count <= 0:
        buffers.pipes.give_back(flow.pipe)      # which leaves errno as it is
        flow.pipe = NULL
    return count


cdef void commit(Flow *flow, size_t start) noexcept nogil:
    cdef Buffer *head = &flow.head
    cdef Buffer *body = &flow.body
    cdef size_t good
    if flow.pipe is not NULL:
        pass_by(&flow.framing, flow.pipe.held)
        return
    feed_body(&flow.framing, body.data + start, body.end - start, &good)
    body.start = start
    flow.good = start + good
    if flow.until_close:
        if flow.ended:
            end_body(&flow.framing)
        if flow.until_close == AS_CHUNKS:
            make_chunk(flow)
            good = flow.good - body.start
    if head.data is not NULL and good <= SHORT and good <= head.size - head.end:
        memcpy(head.data + head.end, body.data + body.start, good)
        head.end += good
        body.start = flow.good


cdef void begin_until_close(Flow *flow, UntilClose how) noexcept nogil:
    begin_body_until_close(&flow.framing)
    flow.until_close = how


cdef void make_chunk(Flow *flow) noexcept nogil:
    """Frame what is good of the body, which is all that is there."""
    cdef Buffer *body = &flow.body
    cdef size_t size = flow.good - body.start, left = size
    cdef char *out
    if body.size - body.end < ROOM_BEHIND_A_CHUNK:
        # Only the first piece fills a buffer, and before that is a head that was written anew.
        memmove(body.data + ROOM_BEFORE, body.data + body.start, size)
        body.start = ROOM_BEFORE
        body.end = ROOM_BEFORE + size
    out = body.data + body.end
    if size:
        out = put_text(out, b"\r\n")
        body.start -= 2
        put_text(body.data + body.start, b"\r\n")
        while left:
            body.start -= 1
            body.data[body.start] = DIGITS[left & 15]
            left >>= 4
    if flow.framing.state == BODY_END:
        out = put_text(out, b"0\r\n\r\n")
    body.end = flow.good = <size_t> (out - body.data)


cdef size_t waiting(const Flow *flow) noexcept nogil:
    if flow.pipe is not NULL:
        return flow.pipe.held + held(&flow.body)
    return held(&flow.head) + flow.good - flow.body.start


cdef ssize_t flush(Flow *flow, Buffers buffers, Channel *target) noexcept nogil:
    cdef Buffer *head = &flow.head
    cdef Buffer *body = &flow.body
    cdef size_t size = waiting(flow), of_head = held(head)
    cdef ssize_t count = 0
    if flow.pipe is not NULL:
        return flush_unseen(flow, buffers, target)
    if size or unsent(target):
        count = send_both(
            target, head.data + head.start, of_head, body.data + body.start, size - of_head)
    if count == FAILED:
        return FAILED
    if <size_t> count < of_head:
        head.start += count
    else:
        buffers.give_back(head)
        body.start += count - of_head
    return size - count + unsent(target)


cdef ssize_t flush_unseen(Flow *flow, Buffers buffers, Channel *target) noexcept nogil:
    cdef ssize_t left = UNABLE
    if not buffers.pipes.problem:
        left = empty(flow.pipe, target.fd)
        if left == UNABLE:
            buffers.pipes.problem = errno
    if left == UNABLE:
        left = flush_copies(flow, buffers, target)
    if left == 0:
        buffers.pipes.give_back(flow.pipe)
        flow.pipe = NULL
    return left


cdef ssize_t flush_copies(Flow *flow, Buffers buffers, Channel *target) noexcept nogil:
    """Send what is still in the pipe, though it no longer goes from there to a socket."""
    cdef Buffer *body = &flow.body
    cdef ssize_t count
    while held(body) or flow.pipe.held:
        if not held(body):
            if body.data is NULL and not buffers.borrow(body, SMALL):
                return FAILED
            count = copy(flow.pipe, body.data, body.size)
            if count == FAILED:
                return FAILED
            body.start = 0
            body.end = flow.good = count
        count = send_both(target, body.data + body.start, held(body), NULL, 0)
        if count == FAILED:
            return FAILED
        body.start += count
        if held(body):
            return waiting(flow)
    park(flow, buffers)
    return 0


cdef void park(Flow *flow, Buffers buffers) noexcept nogil:
    if not held(&flow.body):
        buffers.give_back(&flow.body)
        flow.good = 0


cdef inline void release(Flow *flow, Buffers buffers) noexcept nogil:
    if flow.head.data is not NULL:
        buffers.give_back(&flow.head)
    if flow.body.data is not NULL:
        buffers.give_back(&flow.body)
    if flow.pipe is not NULL:
        buffers.pipes.give_back(flow.pipe)
        flow.pipe = NULL
    flow.head.size = flow.body.size = 0
    flow.good = 0
    flow.flooding = flow.more = flow.much = flow.by_pipe = False
    flow.until_close = NOT_UNTIL_CLOSE
    flow.ended = False
