"""What is kept of a request that was served; see record.pxd."""

from trio_lb.fast.http1 cimport ParsedRequest, same, Span, target_as_sent
from trio_lb.fast.loop cimport Buffer, log_fault
from trio_lb.fast.record cimport (
    Attempt, CLIENT, METHOD, OUTCOME, REASON, Record, REFERER, REQUEST_ID, SERVER, TARGET, Text,
    text, text_of, USER_AGENT, VERSION,
)

cdef extern from *:
    """
    #include <time.h>
    static inline double tlb_wall_clock(void) {     /* costs no system call */
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec + now.tv_nsec * 1e-9;
    }
    """
    double wall_clock "tlb_wall_clock"() noexcept nogil


cdef void keep_record(Exchange exchange) noexcept:
    try:
        fill_record(exchange)
    except BaseException:       # whatever it is, there is nobody to raise it to
        log_fault("recording a request")
        exchange.last = True


cdef int fill_record(Exchange exchange) except -1:
    cdef const Buffer *input = &exchange.client.input
    cdef const char *data = input.data + input.start
    cdef const ParsedRequest *head = &exchange.head
    cdef double now = exchange.path.readiness.now
    cdef Record record
    cdef Attempt attempt
    record.duration = now - exchange.began
    record.time = wall_clock() - record.duration
    record.status = exchange.status
    record.bytes_sent = exchange.flow.framing.payload
    record.bytes_received = exchange.body_length()
    record.parts[CLIENT] = text_of(exchange.origin.address)
    record.parts[METHOD] = span_text(data, head.method)
    record.parts[TARGET] = span_text(data, target_as_sent(head))
    record.parts[VERSION] = text("1.0" if head.http10 else "1.1", 3)
    record.parts[REQUEST_ID] = span_text(data, head.request_id)
    if exchange.own_id_length:
        record.parts[REQUEST_ID] = text(exchange.own_id, exchange.own_id_length)
    record.parts[REFERER] = first_value(data, head, "referer", 7)
    record.parts[USER_AGENT] = first_value(data, head, "user-agent", 10)
    record.parts[SERVER] = text_of(exchange.server.name)
    record.parts[OUTCOME] = text("ok", 2)
    record.parts[REASON] = text(NULL, 0)
    attempt.server = record.parts[SERVER]
    attempt.outcome = record.parts[OUTCOME]
    attempt.duration = now - exchange.started
    attempt.reused = exchange.upstream.reused
    record.attempts = &attempt
    record.attempt_count = 1
    exchange.path.records.keep(&record)
    return 0


cdef inline Text span_text(const char *data, Span part) noexcept nogil:
    return text(data + part.start, part.length)


cdef inline Text first_value(
        const char *data, const ParsedRequest *head, const char *name,
        size_t length) noexcept nogil:
    """Of the first field of that name (lower case)."""
    cdef int number
    for number in range(head.count):
        if head.fields[number].name.length == length and same(
                data + head.fields[number].name.start, name, length):
            return span_text(data, head.fields[number].value)
    return text(NULL, 0)
