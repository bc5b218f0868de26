/* What systems differ in, as far as the fast path has to do with it.

   TRIO_LB_LINUX: setup.py says so. On Linux without it, nothing is there that any system lacks. */

#ifndef TLB_SYSTEM_H
#define TLB_SYSTEM_H

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef TRIO_LB_LINUX
#include <fcntl.h>
#include <unistd.h>
#define TLB_HAS_EPOLL 1
#else
#define TLB_HAS_EPOLL 0
#endif

#if defined(__linux__) && !defined(TRIO_LB_LINUX)
#undef MSG_NOSIGNAL
#undef POLLRDHUP
#undef POLLERR
#define POLLERR 0               /* a broken connection is one that has ended, to the BSDs and macOS */
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0          /* Python ignores SIGPIPE */
#endif

/* The peer has sent its last byte. 0: poll(2) does not tell. */
#if !defined(POLLRDHUP) && defined(__APPLE__)
#define POLLRDHUP POLLHUP       /* it is about the direction that was asked for */
#elif !defined(POLLRDHUP)
#define POLLRDHUP 0
#endif

/* Bytes that were sent and that the peer's system has not acknowledged. */
static inline int tlb_in_queue(int fd) {
    int count = 0;
#if defined(TRIO_LB_LINUX)
    return ioctl(fd, TIOCOUTQ, &count) ? 0 : count;
#elif defined(SO_NWRITE)        /* macOS */
    socklen_t size = sizeof(count);
    return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &count, &size) ? 0 : count;
#elif defined(FIONWRITE)        /* FreeBSD, NetBSD */
    return ioctl(fd, FIONWRITE, &count) ? 0 : count;
#else                           /* it is not told: all that there is room for, until there is room */
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(count);
    if (poll(&one, 1, 0)) return 0;
    return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &count, &size) ? 0 : count;
#endif
}

/* 0: the peer is there. 1: it has sent its last byte, whatever of its bytes is unread (where poll(2)
   does not tell, only when none is). 2: the connection is broken, or closed in both directions. */
static inline int tlb_peer_state(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLRDHUP};
    char unread;
    ssize_t count;
    if (poll(&one, 1, 0) <= 0) return 0;
    if (one.revents & (POLLERR | POLLNVAL)) return 2;
#ifdef __linux__
    if (one.revents & POLLHUP) return 2;
#endif
    if (one.revents & POLLRDHUP) return 1;
    if (POLLRDHUP || !(one.revents & (POLLIN | POLLHUP))) return 0;
    count = recv(fd, &unread, 1, MSG_PEEK | MSG_DONTWAIT);
    return count == 0 ? 1 : count < 0 && errno != EAGAIN ? 2 : 0;
}

/* A pipe with so much room, which never waits; false if there is none to be had. */
static inline int tlb_open_pipe(int ends[2], int size) {
#ifdef TRIO_LB_LINUX
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return 0;
    if (fcntl(ends[1], F_SETPIPE_SZ, size) >= size) return 1;
    close(ends[0]);             /* there is a limit for all pipes of a user */
    close(ends[1]);
#endif
    return 0;
}

/* Move bytes between such a pipe and a socket; like read(2) and write(2). */
static inline ssize_t tlb_move(int source, int target, size_t size) {
#ifdef TRIO_LB_LINUX
    return splice(source, NULL, target, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
#else
    errno = ENOSYS;
    return -1;
#endif
}

#endif
