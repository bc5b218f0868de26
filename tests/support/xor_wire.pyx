# cython: language_level=3
"""A wire for tests: bytes are not what they are on the socket, and come and go in other pieces.

Like TLS it takes more from the socket than it gives away at once, and more from its user than the
socket takes; every byte is changed, so nobody who uses the bare socket gets anything of sense.
"""

from libc.string cimport memmove

from trio_lb.fast.loop cimport (
    Channel, ChannelOps, FAILED, NOTHING, nothing_came, receive_from, send_to, Wire,
)

cdef enum:
    ROOM = 8192                 # bytes that are held, each way
    PIECE = 1000                # given away at once, at most
    KEY = 0x5A


cdef struct Held:
    char[ROOM] came             # and not given away yet
    size_t came_count
    char[ROOM] taken            # and not sent yet
    size_t taken_count
    int received                # times that it was asked for bytes


cdef class XorWire(Wire):
    """One connection's."""
    cdef Held held

    def __cinit__(self):
        self.ops = &xor_ops
        self.state = &self.held

    @property
    def received(self):
        """How often it was asked for bytes."""
        return self.held.received

    def receive(self, int fd, size_t size):
        """For the slow path: like `Transport.receive_nowait`, and raises OSError."""
        cdef Channel channel = Channel(fd, self.ops, self.state)
        cdef char[PIECE] data
        cdef bint more
        cdef ssize_t count = receive(&channel, data, min(size, <size_t> PIECE), &more)
        if count == FAILED:
            raise OSError("broken")
        return (None if count == NOTHING else data[:count]), more

    def send(self, int fd, const unsigned char[:] data not None):
        """For the slow path: how many bytes were taken. Raises OSError."""
        cdef Channel channel = Channel(fd, self.ops, self.state)
        cdef const char *first = <const char *> &data[0] if data.shape[0] else NULL
        cdef ssize_t count = send(&channel, first, data.shape[0], NULL, 0)
        if count == FAILED:
            raise OSError("broken")
        return count

    @property
    def unsent(self):
        """Bytes that were taken and not sent."""
        return self.held.taken_count


cdef ssize_t receive(Channel *channel, char *data, size_t room, bint *more) noexcept nogil:
    cdef Held *wire = <Held *> channel.state
    cdef size_t count
    cdef ssize_t number
    cdef ssize_t came
    wire.received += 1
    more[0] = False
    if not wire.came_count:
        came = receive_from(channel.fd, wire.came, ROOM)
        if came <= 0:
            return came
        for number in range(came):
            wire.came[number] ^= KEY
        wire.came_count = came
    count = min(room, wire.came_count, <size_t> PIECE)
    memmove(data, wire.came, count)
    wire.came_count -= count
    memmove(wire.came, wire.came + count, wire.came_count)
    more[0] = True                      # what is left, or what is in the socket
    return count


cdef ssize_t send(
        Channel *channel, const char *first, size_t first_size, const char *second,
        size_t second_size) noexcept nogil:
    cdef Held *wire = <Held *> channel.state
    cdef size_t took = 0
    cdef ssize_t count
    while True:
        while took < first_size + second_size and wire.taken_count < ROOM:
            wire.taken[wire.taken_count] = KEY ^ (
                first[took] if took < first_size else second[took - first_size])
            wire.taken_count += 1
            took += 1
        if not wire.taken_count:
            return took
        count = send_to(channel.fd, wire.taken, wire.taken_count, NULL, 0)
        if count == FAILED:
            return FAILED
        wire.taken_count -= count
        memmove(wire.taken, wire.taken + count, wire.taken_count)
        if not count:
            return took


cdef size_t unsent(Channel *channel) noexcept nogil:
    return (<Held *> channel.state).taken_count


cdef bint silent(Channel *channel) noexcept nogil:
    return not (<Held *> channel.state).came_count and nothing_came(channel.fd)


cdef ChannelOps xor_ops
xor_ops.receive = receive
xor_ops.send = send
xor_ops.unsent = unsent
xor_ops.silent = silent
