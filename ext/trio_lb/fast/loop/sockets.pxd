"""Non-blocking receives and sends of plain sockets."""

from libc.errno cimport EAGAIN, EINTR, errno


cdef extern from "system.h" nogil:
    """
    #define TLB_SHORT_MESSAGE 2048
    #include <linux/sock_diag.h>
    #include <time.h>
    static inline ssize_t tlb_send_two(
            int fd, const char *first, size_t first_size, const char *second, size_t second_size) {
        struct iovec parts[2] = {{(void *) first, first_size}, {(void *) second, second_size}};
        struct msghdr message = {0};
        if (!second_size) return send(fd, first, first_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (!first_size) return send(fd, second, second_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    static inline int tlb_socket_error(int fd) {
        int error = 0;
        socklen_t size = sizeof(error);
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
    }
    /* Whoever closes it resets the connection, so that nobody takes what came for all of it. */
    static inline void tlb_reset_on_close(int fd) {
        struct linger at_once = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    /* A short message fits into its queue, whole: with the packets that it may be divided into. */
    static inline int tlb_takes_short_message(int fd) {
        uint32_t memory[SK_MEMINFO_VARS];
        socklen_t size = sizeof(memory);
        if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size)) return tlb_in_queue(fd) == 0;
        return memory[SK_MEMINFO_WMEM_QUEUED] + 4 * TLB_SHORT_MESSAGE <= memory[SK_MEMINFO_SNDBUF];
    }
    /* Wait until it is readable, at most for so long; true if it is, or that can't be told. */
    static inline int tlb_readable_within(int fd, double seconds) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        struct timespec time = {0, seconds * 1e9};
        return ppoll(&one, 1, &time, NULL) != 0;
    }
    """
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    int MSG_DONTWAIT, MSG_PEEK
    ssize_t send_two "tlb_send_two"(
        int fd, const char *first, size_t first_size, const char *second, size_t second_size)
    int socket_error "tlb_socket_error"(int fd)
    enum:
        SHORT_MESSAGE "TLB_SHORT_MESSAGE"   # bytes at most
    bint takes_short_message "tlb_takes_short_message"(int fd)
    void reset_on_close "tlb_reset_on_close"(int fd)
    bint readable_within "tlb_readable_within"(int fd, double seconds)
    int in_queue "tlb_in_queue"(int fd)
    int peer_state "tlb_peer_state"(int fd)

cdef enum:
    NOTHING = -1                # no bytes now
    FAILED = -2

cdef enum:                      # peer_state
    PEER_ENDED = 1              # it has sent its last byte, which may be unread
    PEER_BROKEN = 2             # nobody reads any more


cdef inline ssize_t receive_from(int fd, char *data, size_t room) noexcept nogil:
    """How many bytes came, 0 at the end of the stream, NOTHING or FAILED."""
    cdef ssize_t count
    while True:
        count = recv(fd, data, room, MSG_DONTWAIT)
        if count >= 0:
            return count
        if errno != EINTR:
            return NOTHING if errno == EAGAIN else FAILED


cdef inline ssize_t send_to(
        int fd, const char *first, size_t first_size, const char *second,
        size_t second_size) noexcept nogil:
    """Send two pieces in one go; how many bytes that were, or FAILED."""
    cdef ssize_t count
    while True:
        count = send_two(fd, first, first_size, second, second_size)
        if count >= 0:
            return count
        if errno != EINTR:
            return 0 if errno == EAGAIN else FAILED


cdef inline bint no_bytes_came(int fd) noexcept nogil:
    cdef char unread
    return recv(fd, &unread, 1, MSG_PEEK | MSG_DONTWAIT) <= 0


cdef inline bint nothing_came(int fd) noexcept nogil:
    """Neither bytes nor an end have come that were not received."""
    cdef char unread
    return recv(fd, &unread, 1, MSG_PEEK | MSG_DONTWAIT) < 0 and errno == EAGAIN
