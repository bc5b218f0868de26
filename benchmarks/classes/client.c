/* A closed loop of connections for requests that wrk can't send or whose answers it can't read.
 *
 *     client PORT CONNECTIONS SECONDS MODE < REQUEST
 *
 * Each connection sends the request and reads the answer, again and again, on a new connection
 * whenever one has ended. MODE:
 *
 *   plain      the request in one piece
 *   expect     the head first, and the body when 100 (Continue) has come
 *   websocket  the request once, as the handshake; then frames of 125 bytes, each sent when the one
 *              before has come back; these are what is counted
 *
 * Prints a line: requests, bytes received, errors, seconds, and the 50th and 99th percentile of the
 * latency in microseconds. An error is an answer other than 2xx, 3xx or the 101 of a handshake, or
 * one that breaks off. A connection attempt that fails ends the program.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, BUFFER = 64 * 1024, FRAME = 125, EVENTS = 256, SLOWEST = 1000000 };
enum mode { PLAIN, EXPECT, WEBSOCKET };

typedef struct {
    int fd, tunnel;
    size_t have;
    double sent_at;
    char data[BUFFER]; /* of the answer so far */
} connection;

static char request[BUFFER], frame[FRAME + 6];
static size_t request_size, head_size;
static enum mode mode;
static int port, epoll, head_only, old, only_one;
static long requests, bytes, errors;
static unsigned latencies[SLOWEST + 1];

static double now(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec + moment.tv_nsec / 1e9;
}

static void need(int good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static void send_all(connection *to, const char *data, size_t size)
{
    (void)!send(to->fd, data, size, MSG_NOSIGNAL); /* an end is told by the receive */
}

static void begin(connection *on)
{
    on->have = 0;
    on->sent_at = now();
    if (on->tunnel)
        send_all(on, frame, sizeof frame);
    else
        send_all(on, request, mode == EXPECT ? head_size : request_size);
}

static void reconnect(connection *at)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = at};
    int on = 1;
    if (at->fd >= 0)
        close(at->fd);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    need((at->fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0, "socket");
    need(connect(at->fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    setsockopt(at->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    need(epoll_ctl(epoll, EPOLL_CTL_ADD, at->fd, &event) == 0, "epoll_ctl");
    at->tunnel = 0;
    begin(at);
}

static void fail(connection *at)
{
    errors++;
    reconnect(at);
}

static const char *field(const char *head, size_t size, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = head; at + length <= head + size; at++)
        if (*at == '\n' && strncasecmp(at + 1, name, length) == 0)
            return at + 1 + length;
    return NULL;
}

static void count(connection *at)
{
    double taken = (now() - at->sent_at) * 1e6;
    requests++;
    latencies[taken < SLOWEST ? (int)taken : SLOWEST]++;
}

/* Where the answer ends: its size, 0 as long as it isn't whole, -1 if only the end of the connection
 * ends it. Chunks are those of our servers, whose bodies have no empty lines. */
static long answer_size(const char *head, size_t have, size_t head_end, int status)
{
    const char *value;
    if (head_only || status == 204 || status == 304 || status / 100 == 1)
        return (long)head_end;
    if ((value = field(head, head_end, "content-length: ")) != NULL) {
        size_t size = head_end + (size_t)atol(value);
        return have >= size ? (long)size : 0;
    }
    if (field(head, head_end, "transfer-encoding: chunked") != NULL) {
        const char *last = memmem(head + head_end - 2, have - head_end + 2, "\r\n0\r\n", 5);
        const char *end = last ? memmem(last + 3, head + have - last - 3, "\r\n\r\n", 4) : NULL;
        return end != NULL ? end + 4 - head : 0;
    }
    return -1;
}

static int closing(const char *head, size_t head_end)
{
    const char *value = field(head, head_end, "connection: ");
    if (only_one)
        return 1;
    if (old || memcmp(head, "HTTP/1.0", 8) == 0)
        return value == NULL || strncasecmp(value, "keep-alive", 10) != 0;
    return value != NULL && strncasecmp(value, "close", 5) == 0;
}

/* Read the answers that have come; 1 if one more request can be sent. */
static void read_answers(connection *at, int ended)
{
    while (at->have > 0) {
        char *stop = memmem(at->data, at->have, "\r\n\r\n", 4);
        if (stop == NULL)
            break;
        size_t head_end = stop + 4 - at->data;
        int status = atoi(at->data + 9);
        if (status == 100) {
            if (mode == EXPECT)
                send_all(at, request + head_size, request_size - head_size);
            at->have -= head_end;
            memmove(at->data, at->data + head_end, at->have);
            continue;
        }
        if (status / 100 != 2 && status / 100 != 3 && status != 101) {
            fail(at);
            return;
        }
        long size = answer_size(at->data, at->have, head_end, status);
        if (size == 0 || (size < 0 && !ended))
            break;
        if (status == 101) {
            at->tunnel = 1;
            begin(at);
            return;
        }
        count(at);
        if (size < 0 || ended || closing(at->data, head_end))
            reconnect(at);
        else
            begin(at);
        return;
    }
    if (ended)
        fail(at);
}

static void receive(connection *at)
{
    ssize_t size = recv(at->fd, at->data + at->have, BUFFER - at->have, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size > 0) {
        bytes += size;
        at->have += (size_t)size;
    }
    if (!at->tunnel)
        read_answers(at, size <= 0);
    else if (size <= 0)
        fail(at);
    else if (at->have >= FRAME + 2) { /* the server's frames have no mask */
        count(at);
        begin(at);
    }
}

static unsigned percentile(double share)
{
    long before = 0;
    unsigned at = 0;
    while (at < SLOWEST && (before += latencies[at]) < requests * share)
        at++;
    return at;
}

int main(int given, char **arguments)
{
    struct epoll_event events[EVENTS];
    if (given != 5) {
        fprintf(stderr, "usage: client PORT CONNECTIONS SECONDS MODE < REQUEST\n");
        return 2;
    }
    port = atoi(arguments[1]);
    int connections = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    mode = arguments[4][0] == 'e' ? EXPECT : arguments[4][0] == 'w' ? WEBSOCKET : PLAIN;
    request_size = fread(request, 1, sizeof request, stdin);
    char *stop = memmem(request, request_size, "\r\n\r\n", 4);
    if (stop == NULL || connections < 1 || connections > MOST) {
        fprintf(stderr, "no whole request, or not 1 to %d connections\n", MOST);
        return 2;
    }
    head_size = stop + 4 - request;
    old = memmem(request, head_size, " HTTP/1.0\r\n", 11) != NULL;
    only_one = memmem(request, head_size, "Connection: close", 17) != NULL;
    head_only = memcmp(request, "HEAD ", 5) == 0;
    memset(frame, 'x', sizeof frame);
    memcpy(frame, "\x82\xfd\0\0\0", 6); /* binary, masked with zeros */
    signal(SIGPIPE, SIG_IGN);
    need((epoll = epoll_create1(0)) >= 0, "epoll_create1");
    connection *all = calloc(connections, sizeof *all);
    need(all != NULL, "calloc");
    double started = now(), until = started + seconds;
    for (int number = 0; number < connections; number++) {
        all[number].fd = -1;
        reconnect(&all[number]);
    }
    while (now() < until) {
        int ready = epoll_wait(epoll, events, EVENTS, 50);
        for (int number = 0; number < ready; number++)
            receive(events[number].data.ptr);
    }
    printf("%ld %ld %ld %.3f %u %u\n", requests, bytes, errors, now() - started, percentile(0.5),
           percentile(0.99));
    return 0;
}
