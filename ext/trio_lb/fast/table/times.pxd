"""Response times: what an answer or a failure counts for, and what its server is charged.

A server that fails is soon done, and would look like the fastest one, or the one with least to do.
So what failed has taken no less than the other servers take on average, and does not lower the
server's own average. And as it did not hold a connection for that long, the server is charged for
one. See docs/algorithms.md.
"""

from libc.stdint cimport uint32_t, uint64_t


cdef inline bint failing(uint32_t status) noexcept nogil:
    """A server that answers so has failed: not if the request wants what it does not implement."""
    return status >= 500 and status != 501 and status != 505


cdef inline double usual_micros(Block block, uint32_t slot) noexcept nogil:
    """The mean of what the other servers take that are alive; 0 if it is not known."""
    cdef uint32_t other, measured = 0
    cdef double sum = 0.0
    cdef uint64_t word
    for other in range(block.capacity):
        if other != slot and state_of(&block.servers[other]) == STATE_ALIVE:
            word = load64(&block.servers[other].latency)
            if word:
                sum += float_from(<uint32_t> (word >> 32))
                measured += 1
    return sum / measured if measured else 0.0


cdef inline void charge(Server *server, uint64_t now_ms, double micros) noexcept nogil:
    """Charge a server for the time by which it has failed too soon.

    As many connections as would have been held on average, by all failures of late, had each
    taken that much longer. Those of each one decay, so that their integral is its time.
    """
    cdef uint64_t seen
    cdef double connections
    while True:
        seen = load64(&server.penalty)
        connections = penalty_of(server, now_ms) + micros / (2000.0 * PENALTY_MS)
        connections = max(connections, 1.0 / 64)    # to decide at least between equals
        if swap64(&server.penalty, seen,
                  <uint64_t> float_bits(<float> connections) << 32 | penalty_time(now_ms)):
            return


cdef inline void raise_average(Server *server, double micros) noexcept nogil:
    """Let an average be no less than so much, if there is one."""
    cdef uint64_t seen = load64(&server.latency)
    while seen and float_from(<uint32_t> (seen >> 32)) < micros:
        if swap64(&server.latency, seen,
                  <uint64_t> float_bits(<float> micros) << 32 | <uint32_t> seen):
            return
        seen = load64(&server.latency)


cdef inline uint64_t blend(
        uint64_t word, uint64_t age, uint64_t now_ms, double micros) noexcept nogil:
    """The latency word after one more sample.

    The old average keeps the weight to which it decayed since its own last sample. So the weight
    of the past depends on time alone and not on how many samples it had, and a sample after a
    long pause replaces it nearly wholly.
    """
    cdef double average = micros, kept
    if word:
        kept = decay(age)
        average = kept * float_from(<uint32_t> (word >> 32)) + (1.0 - kept) * micros
    return (<uint64_t> float_bits(<float> average) << 32) | <uint32_t> now_ms
