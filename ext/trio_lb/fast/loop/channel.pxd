"""What a connection's bytes go through between buffers and its socket: C-level interface.

A plain socket is a channel without operations of its own (`ops` is NULL): each is one system call,
inlined. Where there is something between, TLS say, `ops` stands for that. Its code may rely on
this:

* `receive` says whether there may be more, which edges will not tell again: bytes that are left in
  the socket, or that have been taken from there already.
* `send` may take bytes and hold them for a while (`unsent`). Then it is called again, also without
  any bytes, when the socket has room. So it leaves bytes, its own or its caller's, only where the
  socket had none: else no edge would tell.
* What was taken from the socket on the slow path is asked for when the fast path begins; and a
  connection to a server is not kept if there is any of it.
* What the kernel knows of the connection is asked of the descriptor: its errors, its queue, whether
  the peer is there.
"""

cdef struct Channel

cdef struct ChannelOps:
    # As `receive` and `send_both` below.
    ssize_t (*receive)(Channel *channel, char *data, size_t room, bint *more) noexcept nogil
    ssize_t (*send)(
        Channel *channel, const char *first, size_t first_size, const char *second,
        size_t second_size) noexcept nogil
    # Bytes that were taken by `send` and have not been sent.
    size_t (*unsent)(Channel *channel) noexcept nogil
    # Neither bytes of the peer nor an end have come that were not received.
    bint (*silent)(Channel *channel) noexcept nogil

cdef struct Channel:
    int fd                      # -1: none
    const ChannelOps *ops
    void *state                 # theirs


cdef class Wire:
    """What is between a connection and its socket; a subclass sets its operations, and their state.

    A Transport that has one (`wire`) shares it with the fast path, so that each of the two paths
    goes on where the other has stopped. On the slow path the Transport sends what the wire holds
    before it waits for bytes.
    """
    cdef const ChannelOps *ops
    cdef void *state


cdef inline void open_channel(Channel *channel, int fd, Wire wire) noexcept:
    """The channel of a connection; whoever has it keeps the wire, if there is one, alive."""
    channel.fd = fd
    channel.ops = NULL
    channel.state = NULL
    if wire is not None:
        channel.ops = wire.ops
        channel.state = wire.state


cdef inline ssize_t receive(
        Channel *channel, Buffer *buffer, size_t room, bint *more) noexcept nogil:
    """Fill so much of the free room behind what is in a buffer.

    How many bytes came, 0 at the end of the stream, NOTHING or FAILED. `more` is set if there may
    be more now.
    """
    cdef ssize_t count
    if channel.ops is NULL:
        count = receive_from(channel.fd, buffer.data + buffer.end, room)
        more[0] = count == <ssize_t> room
    else:
        count = channel.ops.receive(channel, buffer.data + buffer.end, room, more)
    if count > 0:
        buffer.end += count
    return count


cdef inline ssize_t send_both(
        Channel *channel, const char *first, size_t first_size, const char *second,
        size_t second_size) noexcept nogil:
    """Send two pieces in one go; how many bytes were taken, or FAILED."""
    if channel.ops is NULL:
        return send_to(channel.fd, first, first_size, second, second_size)
    return channel.ops.send(channel, first, first_size, second, second_size)


cdef inline size_t unsent(Channel *channel) noexcept nogil:
    """Bytes that were taken and that the socket had no room for."""
    return 0 if channel.ops is NULL else channel.ops.unsent(channel)


cdef inline bint silent(Channel *channel) noexcept nogil:
    """Neither bytes of the peer nor an end have come that were not received."""
    if channel.ops is NULL:
        return nothing_came(channel.fd)
    return channel.ops.silent(channel)


cdef inline bint nothing_unread(Channel *channel) noexcept nogil:
    """No bytes of the peer have come that were not received; its end may have."""
    if channel.ops is NULL:
        return no_bytes_came(channel.fd)
    return channel.ops.silent(channel)


cdef inline bint may_splice(const Channel *channel) noexcept nogil:
    """What goes through it is what its socket has."""
    return channel.ops is NULL
