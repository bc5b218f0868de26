/* The floor: a relay between clients and servers that does as little as can be done.
 *
 * For each request the system calls that a balancer needs as well: the request is received from the
 * client and sent to a server, the answer is received and sent to the client; epoll_wait, edge
 * triggered, for many at once. Connections to servers are kept, used in turn, the last one first.
 * There are no checks, limits, deadlines, counts, fields of its own, and no errors for clients:
 * what goes wrong closes the connection.
 *
 * It parses nothing but what ends a message: of a head, which has to come in one piece, the status,
 * HEAD, HTTP/1.0, `Connection: close`, Content-Length and whether it is chunked, found by a search
 * through the bytes; of chunks only the last one, wherever it seems to be. That is right for what
 * the benchmarks send and for nothing else. The version and the value of Connection are overwritten
 * in place where a client's connection ends and the server's is kept. No pipelining.
 *
 *     relay PORT SERVER_PORT...
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 512 * 1024, WINDOW = 64, EVENTS = 512, SERVERS = 16 };
/* Values of `left` that are not a number of bytes. */
enum { CHUNKED = -1, UNTIL_CLOSED = -2 };

typedef struct side side;
struct side {
    int fd, is_server, server, dead;
    side *other, *next;
    /* The message that comes from here. */
    int in_body, whole;
    long left;
    char window[WINDOW]; /* its last bytes, while it is chunked */
    int in_window;
    /* Of a client's request. */
    int head_only, closes;
    /* What could not be sent to here yet. */
    char *pending;
    size_t waiting;
};

static int epoll, servers, next_server;
static unsigned short ports[SERVERS];
static side *idle[SERVERS], *dead;
static char buffer[BUFFER];

static void need(int good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static side *add(int fd, int is_server, int server)
{
    int on = 1;
    side *made = calloc(1, sizeof *made);
    need(made != NULL, "calloc");
    made->fd = fd;
    made->is_server = is_server;
    made->server = server;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = made};
    need(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    return made;
}

/* Freed when all events have been handled, as there may be one of it among them. */
static void end(side *ended)
{
    if (ended->dead)
        return;
    ended->dead = 1;
    close(ended->fd);
    free(ended->pending);
    side *other = ended->other;
    if (other != NULL) {
        other->other = NULL;
        end(other);
    }
    if (ended->is_server && other == NULL)
        for (side **at = &idle[ended->server]; *at != NULL; at = &(*at)->next)
            if (*at == ended) {
                *at = ended->next;
                break;
            }
    ended->next = dead;
    dead = ended;
}

static side *take_server(void)
{
    int server = next_server = (next_server + 1) % servers;
    side *found = idle[server];
    if (found != NULL) {
        idle[server] = found->next;
        return found;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ports[server])};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return NULL;
    }
    return add(fd, 1, server);
}

/* Where a field has its value, 0 if there is none. */
static char *field(char *head, size_t size, const char *name)
{
    char *found = memmem(head, size, name, strlen(name));
    return found == NULL ? NULL : found + strlen(name);
}

/* Look at the head at the beginning of the buffer; the size of the head, 0 if it isn't whole. */
static size_t read_head(side *from, side *client, size_t size)
{
    char *stop = memmem(buffer, size, "\r\n\r\n", 4), *value;
    if (stop == NULL)
        return 0;
    size_t head = stop + 4 - buffer;
    char *connection = field(buffer, head, "\r\nConnection: ");
    from->left = from->is_server ? UNTIL_CLOSED : 0;
    if ((value = field(buffer, head, "\r\nContent-Length: ")) != NULL)
        from->left = atol(value);
    else if (field(buffer, head, "\r\nTransfer-Encoding: chunked") != NULL)
        from->left = CHUNKED;
    if (!from->is_server) {
        char *version = field(buffer, head, " HTTP/1.");
        client->head_only = buffer[0] == 'H';
        client->closes = 0;
        if (version != NULL && *version == '0') {
            *version = '1';
            client->closes = connection == NULL || *connection != 'k';
        } else if (connection != NULL && memcmp(connection, "close", 5) == 0) {
            client->closes = 1;
            memcpy(connection, "alive", 5);
        }
        return head;
    }
    int status = atoi(buffer + 9);
    if (status == 204 || status == 304 || client->head_only)
        from->left = 0;
    if (client->closes && connection != NULL && memcmp(connection, "keep-alive", 10) == 0)
        memcpy(connection, "close     ", 10);
    if (status == 101) { /* from here on bytes, both ways */
        from->left = client->left = UNTIL_CLOSED;
        client->in_body = 1;
    }
    return status / 100 == 1 && status != 101 ? (from->in_body = 0, head) : (from->in_body = 1, head);
}

/* Follow a body; 1 if it ends with these bytes. */
static int body_ends(side *from, const char *data, size_t size)
{
    if (from->left >= 0) {
        from->left -= (long)size;
        return from->left <= 0;
    }
    if (from->left == UNTIL_CLOSED)
        return 0;
    size_t add = size < WINDOW ? size : WINDOW;
    size_t keep = from->in_window < (int)(WINDOW - add) ? (size_t)from->in_window : WINDOW - add;
    memmove(from->window, from->window + from->in_window - keep, keep);
    memcpy(from->window + keep, data + size - add, add);
    from->in_window = (int)(keep + add);
    return from->in_window >= 5 && memcmp(from->window + from->in_window - 4, "\r\n\r\n", 4) == 0
        && memmem(from->window, from->in_window, "\r\n0\r\n", 5) != NULL;
}

static void pass_on(side *to, const char *data, size_t size)
{
    ssize_t sent = send(to->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return; /* the end of it is an event of its own */
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == size)
        return;
    to->waiting = size - sent;
    to->pending = malloc(to->waiting);
    need(to->pending != NULL, "malloc");
    memcpy(to->pending, data + sent, to->waiting);
}

static int flush(side *to)
{
    char *pending = to->pending;
    size_t size = to->waiting;
    if (pending == NULL)
        return 0;
    to->pending = NULL;
    to->waiting = 0;
    pass_on(to, pending, size);
    free(pending);
    return to->pending == NULL;
}

static void finish(side *server)
{
    side *client = server->other;
    server->in_body = client->in_body = server->in_window = client->in_window = 0;
    server->whole = client->whole = 0;
    server->other = client->other = NULL;
    server->next = idle[server->server];
    idle[server->server] = server;
    if (client->closes && client->pending == NULL)
        end(client);
}

/* Messages that are in these bytes of the buffer: interim answers, then a final one. */
static int message_ends(side *from, side *client, size_t size)
{
    size_t done = 0;
    while (!from->in_body) {
        if (done > 0)
            memmove(buffer, buffer + done, size -= done);
        size_t head = size > 0 ? read_head(from, client, size) : 0;
        if (head == 0)
            return size > 0 ? -1 : 0;
        if (!from->is_server)
            from->in_body = 1;
        done = head;
        if (from->in_body) {
            from->in_window = 0;
            if (from->left == CHUNKED) /* the empty line in front, where no chunk follows another */
                return body_ends(from, buffer + head - 4, size - head + 4);
            return body_ends(from, buffer + head, size - head);
        }
    }
    return body_ends(from, buffer, size);
}

static void receive(side *from, int hung_up)
{
    for (;;) {
        if (from->dead || (from->other != NULL && from->other->pending != NULL))
            return;
        ssize_t size = recv(from->fd, buffer, BUFFER, MSG_DONTWAIT);
        if (size < 0 && errno == EAGAIN)
            return;
        side *client = from->is_server ? from->other : from;
        if (size <= 0 || client == NULL) {
            end(from);
            return;
        }
        if (from->other == NULL) {
            if ((from->other = take_server()) == NULL) {
                end(from);
                return;
            }
            from->other->other = from;
        }
        /* Where an interim answer and a final one come together, both are sent as they are. */
        static char copy[BUFFER];
        int interim = from->is_server && !from->in_body && memcmp(buffer, "HTTP/1.1 1", 10) == 0;
        if (interim)
            memcpy(copy, buffer, size);
        int ends = message_ends(from, client, size);
        if (ends < 0) {
            end(from);
            return;
        }
        pass_on(from->other, interim ? copy : buffer, size);
        from->whole |= ends;
        /* A server may answer before the whole request is there. */
        if (from->whole && from->other->whole)
            finish(from->is_server ? from : from->other);
        if (size < BUFFER && !hung_up)
            return;
    }
}

int main(int count, char **arguments)
{
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    if (count < 3 || count > SERVERS + 2) {
        fprintf(stderr, "usage: relay PORT SERVER_PORT...\n");
        return 2;
    }
    address.sin_port = htons(atoi(arguments[1]));
    for (servers = 0; servers < count - 2; servers++)
        ports[servers] = atoi(arguments[servers + 2]);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    need(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    need(listen(listener, 4096) == 0, "listen");
    need((epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0, "epoll_create1");
    need(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int number = 0; number < ready; number++) {
            side *at = events[number].data.ptr;
            if (at == NULL) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
                    add(fd, 0, 0);
                continue;
            }
            if (at->dead)
                continue;
            if (events[number].events & EPOLLOUT && flush(at)) {
                if (at->other != NULL)
                    receive(at->other, 0);
                else if (at->closes && !at->is_server)
                    end(at);
            }
            if (events[number].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                receive(at, (events[number].events & (EPOLLRDHUP | EPOLLHUP)) != 0);
        }
        while (dead != NULL) {
            side *next = dead->next;
            free(dead);
            dead = next;
        }
    }
}
