"""What is known of a client's run on the fast path, and how it ends: C-level interface.

The stages of a request are functions over it: `_request`, `_forward`, `_upload`, `_response`.
"""

from libc.stdint cimport uint32_t, uint64_t

from trio_lb.fast.http1 cimport ClientLines, HeadLimits, ParsedRequest
from trio_lb.fast.loop cimport Buffer, Server, Upstream, Watched

#: A body that takes longer than this to come is the slow path's, which knows how slow it may
#: be. And every so often it is looked whether a client that waits is still there. Seconds.
cdef double PATIENCE

#: A draining client may state a last request within this time; seconds, as in
#: trio_lb.downstream.http1_session.
cdef double LAST_REQUEST

cdef enum State:
    AWAY                        # the slow path has the connection, or it has ended
    READING                     # a request's head
    COLLECTING                  # its small body
    CONNECTING
    UPLOADING                   # a large or chunked body, as it comes
    WAITING                     # for a response's head
    RELAYING                    # a response


cdef class Exchange(Watched):
    cdef FastPath path
    cdef ClientLines lines
    cdef const HeadLimits *limits
    cdef bytes address          # of the client, for records
    cdef object task            # that sleeps in `run`
    cdef Handover ending
    cdef State state
    cdef bint readable          # the last receive did not say that there is nothing more
    cdef bint blocked           # the last send said that there is no room
    cdef bint hung_up           # the client has sent its last byte
    cdef double ended_at        # when that was seen while an answer went on, or NEVER
    cdef bint draining
    cdef double idle_from       # the last request had ended
    cdef readonly uint64_t served       # requests on this connection, on both paths
    # The request
    cdef Buffer request         # from its first byte, and what came behind it
    cdef size_t seen            # bytes of an incomplete head that were looked at
    cdef uint64_t request_length  # what of it stays in the buffer: the head, and a small body
    cdef Flow upload            # a streamed body on its way to the server, behind the head
    cdef bint uploading         # that is how the body goes
    cdef Buffer kept            # what went of it, as long as it might have to be sent again
    cdef bint keeping
    cdef bint choked            # the last send of the body said that there is no room
    cdef MinimumRate choke             # since when the server has taken nothing; it has no credit
    cdef MinimumRate pace_of_body      # of the client, while it is waited for
    cdef ParsedRequest head
    cdef double began           # when its first bytes came; NEVER: none did
    cdef double started         # when its head was complete, or NEVER
    cdef char[MAX_ID] own_id    # that it was given, if it brought none
    cdef size_t own_id_length
    # Its server
    cdef Server server          # whose slot is held
    cdef Upstream upstream
    cdef int connect_error
    cdef double sent            # when the request had been sent
    # The response
    cdef int looks              # for the body behind a head that came alone, that are left
    cdef Flow flow              # its head is also that of the request, on its way to the server
    cdef double moved           # when something of it last came, or the client had taken it
    cdef uint32_t status        # 0: the client has seen nothing of a response
    cdef bint last              # the connection ends with it
    cdef bint reusable          # its server keeps the connection
    cdef MinimumRate pace              # of the client, where it has to be waited for

    # Wait for a client's next request, or its first.
    cdef void await_request(self) noexcept
    # End the run: what the slow path needs goes into `ending`, and the task wakes up.
    cdef void end(self, HandoverReason why, str reason=*) noexcept
    # Bytes that came of the request's body.
    cdef uint64_t body_length(self) noexcept
    # The request's id: the client's, or its own.
    cdef bytes id_given(self)
    # Let go of what was kept of a body.
    cdef void forget(self) noexcept
    cdef void reset(self) noexcept
