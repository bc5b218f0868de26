"""Non-blocking receives and sends; see _sockets.pxd. And what Python wants to know of sockets."""

cdef extern from "loop/system.h":
    bint TLB_HAS_EPOLL

HAS_EPOLL = TLB_HAS_EPOLL       # trio_lb.fast.loop.epoll was built


def departed(int fd):
    """0: the peer is there. 1: it has sent its last byte. 2: the connection is broken."""
    return peer_state(fd)


def unsent(int fd):
    """Bytes that the system still holds for a socket, unsent or not acknowledged.

    Some systems (OpenBSD) do not tell. There it is all that a socket has room for, until it has
    room again.
    """
    return in_queue(fd)
