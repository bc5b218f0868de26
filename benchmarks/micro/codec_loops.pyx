"""Loops over the parts of the fast path: what is measured contains no call from Python.

Under callgrind each loop's instructions are dumped by themselves, under its name.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from trio_lb.fast.http1 cimport (
    add_client_lines, begin_body, Body, BODY_END, ClientLines, feed_body, HEAD, HeadLimits,
    parse_request, parse_response, ParsedRequest, ParsedResponse, RequestAdditions, write_request,
    write_response,
)
from trio_lb.fast.loop cimport Epoll, READABLE, Watched
from trio_lb.fast.table cimport NOBODY, Selection, Table

cdef extern from *:
    """
    #if __has_include(<valgrind/callgrind.h>)
    #include <valgrind/callgrind.h>
    #else
    #define CALLGRIND_ZERO_STATS
    #define CALLGRIND_DUMP_STATS_AT(name) (void) (name)
    #endif
    #define BEGIN_COUNT() do { CALLGRIND_ZERO_STATS; } while (0)
    #define END_COUNT(name) do { CALLGRIND_DUMP_STATS_AT(name); } while (0)
    """
    void BEGIN_COUNT() nogil
    void END_COUNT(const char *name) nogil

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd_write(int fd, uint64_t value)

cdef HeadLimits LIMITS = HeadLimits(16384, 8192, 100)


def parse_requests(bytes name, bytes data, uint32_t times):
    cdef ParsedRequest head
    cdef const char *begin = data
    cdef size_t length = len(data)
    cdef uint32_t right = 0
    BEGIN_COUNT()
    for _ in range(times):
        right += parse_request(begin, length, 0, &LIMITS, &head) == HEAD
    END_COUNT(name)
    assert right == times


def write_requests(bytes name, bytes data, ClientLines client, bytes request_id, uint32_t times):
    cdef ParsedRequest head
    cdef RequestAdditions additions
    cdef char[4096] out
    cdef const char *begin = data
    cdef size_t written = 0
    assert parse_request(begin, len(data), 0, &LIMITS, &head) == HEAD
    additions.prefix.data = b""
    additions.prefix.length = 0
    additions.request_id.data = request_id
    additions.request_id.length = len(request_id)
    BEGIN_COUNT()
    for _ in range(times):
        add_client_lines(&additions, client, begin, &head)
        written += write_request(out, sizeof(out), begin, &head, &additions)
    END_COUNT(name)
    assert written


def parse_responses(bytes name, bytes data, uint32_t times):
    cdef ParsedResponse head
    cdef const char *begin = data
    cdef size_t length = len(data)
    cdef uint32_t right = 0
    BEGIN_COUNT()
    for _ in range(times):
        right += parse_response(begin, length, 0, False, &head) == HEAD
    END_COUNT(name)
    assert right == times


def write_responses(bytes name, bytes data, uint32_t times):
    cdef ParsedResponse head
    cdef char[4096] out
    cdef const char *begin = data
    cdef size_t written = 0
    assert parse_response(begin, len(data), 0, False, &head) == HEAD
    BEGIN_COUNT()
    for _ in range(times):
        written += write_response(out, sizeof(out), begin, &head, NULL, False)
    END_COUNT(name)
    assert written


def follow_bodies(bytes name, bytes data, uint32_t times):
    """Chunked ones."""
    cdef Body body
    cdef size_t good
    cdef const char *begin = data
    cdef size_t length = len(data)
    cdef uint32_t right = 0
    BEGIN_COUNT()
    for _ in range(times):
        begin_body(&body, -1, True)
        right += feed_body(&body, begin, length, &good) == BODY_END
    END_COUNT(name)
    assert right == times


def picks(bytes name, Table table, Selection selection, uint32_t times):
    """A server is picked for a request, and everything about the request is counted."""
    cdef int32_t slot
    cdef uint32_t nobody = 0
    BEGIN_COUNT()
    for number in range(times):
        slot = selection.pick_slot(number)
        if slot == NOBODY:
            nobody += 1
            continue
        table.record_answer(slot, number, 150.0, 200)
        table.record_completion(slot, 32, 0)
        table.release_slot(slot)
        table.record_request(200)
    END_COUNT(name)
    assert not nobody


cdef class Woken(Watched):
    """Something that becomes ready, and counts how often."""

    cdef uint32_t times

    cdef void on_ready(self, uint32_t events) noexcept:
        self.times += (events & READABLE) != 0


def wakes(bytes name, Epoll readiness, int fd, uint32_t times):
    """An eventfd becomes ready, and whoever watches it is called."""
    cdef Woken woken = Woken()
    readiness.watch(woken, fd)
    readiness.turn()
    woken.times = 0
    BEGIN_COUNT()
    for _ in range(times):
        eventfd_write(fd, 1)
        readiness.turn()
    END_COUNT(name)
    readiness.forget(woken, True)
    assert woken.times == times
