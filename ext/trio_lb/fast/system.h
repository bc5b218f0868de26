/* What is asked of a socket, on both paths: on Linux, and where only the slow path is. */

#ifndef TLB_SYSTEM_H
#define TLB_SYSTEM_H

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef POLLRDHUP
#define POLLRDHUP 0             /* poll(2) does not tell that the peer has sent its last byte */
#endif

/* Bytes that were sent and that the peer's system has not acknowledged, where that is told. */
static inline int tlb_in_queue(int fd) {
#ifdef __linux__
    int count = 0;
    return ioctl(fd, TIOCOUTQ, &count) ? 0 : count;
#else
    (void) fd;
    return 0;
#endif
}

/* 0: the peer is there. 1: it has sent its last byte, whatever of its bytes is unread. 2: the
   connection is broken, or closed in both directions. */
static inline int tlb_peer_state(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLRDHUP};
    if (poll(&one, 1, 0) <= 0) return 0;
    if (one.revents & (POLLERR | POLLNVAL)) return 2;
#ifdef __linux__
    if (one.revents & POLLHUP) return 2;
#endif
    return (one.revents & (POLLRDHUP | POLLHUP)) != 0;
}

#endif
