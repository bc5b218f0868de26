/* A server of WebSockets that sends back what it receives, for the benchmark.
 *
 *     echo PORT
 *
 * It upgrades each connection without a look at the key, since nobody checks the answer here; then
 * each frame of 125 bytes that comes, masked with zeros, goes back without a mask.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME = 125, MASKED = FRAME + 6, MOST = 4096, EVENTS = 256 };

static const char UPGRADE[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static struct {
    int open;
    size_t have;
} at[MOST];

static void receive(int fd)
{
    char data[4096], frame[FRAME + 2] = {(char)0x82, FRAME};
    ssize_t size = recv(fd, data, sizeof data, 0);
    if (size <= 0) {
        close(fd);
        return;
    }
    if (!at[fd].open) {
        at[fd].open = 1;
        (void)!send(fd, UPGRADE, sizeof UPGRADE - 1, MSG_NOSIGNAL);
        return;
    }
    at[fd].have += (size_t)size;
    for (; at[fd].have >= MASKED; at[fd].have -= MASKED)
        (void)!send(fd, frame, sizeof frame, MSG_NOSIGNAL);
}

int main(int given, char **arguments)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    if (given != 2)
        return 2;
    address.sin_port = htons(atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) {
        perror("listen");
        return 1;
    }
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int number = 0; number < ready; number++) {
            if (events[number].data.fd != listener) {
                receive(events[number].data.fd);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0)
                continue;
            if (fd >= MOST) {
                close(fd);
                continue;
            }
            at[fd].open = 0;
            at[fd].have = 0;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            event.data.fd = fd;
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
