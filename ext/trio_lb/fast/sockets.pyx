"""What Python wants to know of sockets."""

cdef extern from "system.h":
    int in_queue "tlb_in_queue"(int fd)
    int peer_state "tlb_peer_state"(int fd)


def departed(int fd):
    """0: the peer is there. 1: it has sent its last byte. 2: the connection is broken."""
    return peer_state(fd)


def unsent(int fd):
    """Bytes that the system still holds for a socket, unsent or not acknowledged; 0 on other
    systems than Linux, which need not tell."""
    return in_queue(fd)
