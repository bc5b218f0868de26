/* Accepting a connection, and where it comes from. */

#ifndef TLB_ACCEPT_H
#define TLB_ACCEPT_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* The client's IP address and, if wanted, ours and our port: 4 or 16 bytes for an address, 2 for
   the port, in the order of the network. Nothing for a unix socket. */
typedef struct { unsigned char bytes[34]; } tlb_two_ends;

static inline size_t tlb_put_address(const struct sockaddr_storage *address, unsigned char *out) {
    if (address->ss_family == AF_INET) {
        memcpy(out, &((const struct sockaddr_in *) address)->sin_addr, 4);
        return 4;
    }
    if (address->ss_family != AF_INET6) return 0;
    const struct in6_addr *six = &((const struct sockaddr_in6 *) address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(six)) {
        memcpy(out, six->s6_addr + 12, 4);
        return 4;
    }
    memcpy(out, six, 16);
    return 16;
}

/* As accept4(2), also in a sandbox that does not know it. */
static inline int tlb_accept_any(int fd, struct sockaddr *address, socklen_t *length) {
    static int without;
    int client;
    if (!without) {
        client = accept4(fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0 || errno != ENOSYS) return client;
        without = 1;
    }
    client = accept(fd, address, length);
    if (client >= 0) {
        fcntl(client, F_SETFD, FD_CLOEXEC);
        fcntl(client, F_SETFL, O_NONBLOCK);
    }
    return client;
}

/* The descriptor of the next client, non-blocking; or -1, with errno. */
static inline int tlb_accept(int fd, int both_ends, tlb_two_ends *ends, size_t *size) {
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    int client;
    address.ss_family = AF_UNSPEC;
    client = tlb_accept_any(fd, (struct sockaddr *) &address, &length);
    if (client < 0) return -1;
    *size = tlb_put_address(&address, ends->bytes);
    if (!both_ends || !*size) return client;
    length = sizeof(address);
    if (getsockname(client, (struct sockaddr *) &address, &length) == 0) {
        *size += tlb_put_address(&address, ends->bytes + *size);
        memcpy(ends->bytes + *size,
               address.ss_family == AF_INET
                   ? &((struct sockaddr_in *) &address)->sin_port
                   : &((struct sockaddr_in6 *) &address)->sin6_port, 2);
        *size += 2;
    }
    return client;
}

/* accept(2): errors of the new connection alone; the next one may be fine. */
static inline int tlb_is_passing(int error) {
    switch (error) {
    case ECONNABORTED: case EPROTO: case ENETDOWN: case ENOPROTOOPT: case EHOSTDOWN:
    case EHOSTUNREACH: case EOPNOTSUPP: case ENETUNREACH: case EPERM: case ETIMEDOUT: case EINTR:
        return 1;
    }
    return 0;
}

/* This host lacks something, which may be had again. */
static inline int tlb_is_exhausted(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

#endif
