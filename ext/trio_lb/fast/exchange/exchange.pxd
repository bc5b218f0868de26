"""One request and its answer on the fast path: C-level interface.

The stages of a request are functions over it: `request`, `forward`, `upload`, `response`.
"""

from libc.stdint cimport uint32_t, uint64_t

from trio_lb.fast.http1 cimport ParsedRequest
from trio_lb.fast.loop cimport Buffer, Server, Upstream, Watched

cdef class ClientSide(Watched)
cdef class Origin

cdef enum State:
    AWAY                        # no request is expected: the slow path has the connection
    READING                     # a request's head
    COLLECTING                  # its small body
    CONNECTING
    UPLOADING                   # a large or chunked body, as it comes
    WAITING                     # for a response's head
    RELAYING                    # a response


cdef Exchange new_exchange(FastPath path)


cdef class Exchange:
    cdef FastPath path
    cdef ClientSide client      # that has it; None: nobody, or all that have no request
    cdef State state
    # The request, whose bytes are in `client.input`: from here on, all is as new after `forget`
    cdef size_t seen            # bytes of an incomplete head that were looked at
    cdef double began           # when its first bytes came; NEVER: none did
    cdef double started         # when its head was complete, or NEVER
    cdef Route route            # from `started` on
    cdef Origin origin          # the client's, likewise: its connection's, or told by its proxy
    cdef uint64_t request_length  # what of it stays in `input`: the head, and a small body
    cdef Flow upload            # a streamed body on its way to the server, behind the head
    cdef bint uploading         # that is how the body goes
    cdef Buffer kept            # what went of it, as long as it might have to be sent again
    cdef bint keeping
    cdef bint choked            # the last send of the body said that there is no room
    cdef MinimumRate choke      # since when the server has taken nothing; it has no credit
    cdef size_t own_id_length
    cdef char[MAX_ID] own_id    # that it was given, if it brought none
    # Its server
    cdef Server server          # whose slot is held
    cdef Upstream upstream
    cdef int connect_error
    cdef double sent            # when the request had been sent
    # The response
    cdef uint32_t interims      # 1xx ones before it that were dealt with
    cdef int looks              # for the body behind a head that came alone, that are left
    cdef Flow flow              # its head is also that of the request, on its way to the server
    cdef double moved           # when something of it last came, or the client had taken it
    cdef uint32_t status        # 0: the client has seen nothing of a response
    cdef bint last              # the connection ends with it
    cdef bint reusable          # its server keeps the connection
    # The last field, since it is only written over; valid from `started` on.
    cdef ParsedRequest head

    # Bytes that came of the request's body.
    cdef uint64_t body_length(self) noexcept
    # The request's id: the client's, or its own.
    cdef bytes id_given(self)
    # Let go of what was kept of a body.
    cdef void forget_kept(self) noexcept
    # The request is over, or is somebody else's: nothing of it or its answer is left.
    cdef void forget(self) noexcept
    cdef void forget_upload(self) noexcept
    cdef void shift(self, double seconds) noexcept
