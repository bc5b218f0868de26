"""The plain road: requests on their sunny day, without a task switch.

A `PlainClient` is the state machine of one client's connection. The connection's own Trio task
sleeps in `run` and owns it; the readiness task steps it, request after request, as bytes come and
go. A step is one receive, one send, at most one buffer.

    READING ─► COLLECTING ─► picked ─► CONNECTING ─► UPLOADING ─► WAITING ─► RELAYING ─┐
       ▲       a small body    └── or reused ─────► a large one  for a       a response │
       │                                                         response               │
       └───────────────────────────────── the next request ─────────────────────────────┘

There is no policy of failure here. What isn't plain, and whatever fails before the client has seen
a byte, ends the run with a `Handover`: the request's bytes, and the server's connection as it is.
The general road goes on with them, meets the same end of stream, timeout or odd head that was met
here, and applies its rules. (What is late is handed over a tick of the sweep early, so that it is
late there by no more than usual.)
"""

cimport cython
from libc.errno cimport EAGAIN, EINPROGRESS
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from trio_lb._buffers cimport Buffer, held, LARGE, SMALL
from trio_lb._flow cimport draw, dry, Flow, follow, pour, waiting
from trio_lb._framing cimport begin_body, BODY_BROKEN, BODY_END, BODY_MORE
from trio_lb._pace cimport begin_waiting, earn, Pace, pay
from trio_lb._parser cimport (
    HEAD, HeadLimits, NEED_MORE, parse_request, parse_response, request_parts, Verdict,
)
from trio_lb._readiness cimport (
    BROKEN, ENDED, expect, expect_nothing, HUNG_UP, NEVER, READABLE, Readiness, set_deadline, TICK,
    Watched, WRITABLE,
)
from trio_lb._road cimport Handover, MAX_ID, PlainRoad
from trio_lb._select cimport NOBODY
from trio_lb._sockets cimport (
    at_end, FAILED, NOTHING, receive, send_both, silent, socket_error,
)
from trio_lb._upstreams cimport attend, discard, release, Server, Upstream, watched_since
from trio_lb._wire cimport PlainRequest, PlainResponse
from trio_lb._writer cimport (
    ClientLines, RequestAdditions, write_request as wire_request, write_response,
)

import trio

#: A body that takes longer than this to come is the general road's, which knows how slow it may
#: be. A server that takes longer to answer makes it worth to look whether the client is still
#: there. Seconds.
cdef double PATIENCE = 0.5

#: A request that can't be sent twice only travels on a connection that was used within this time;
#: see trio_lb.proxy.forward. Seconds.
cdef double FRESH_ENOUGH = 0.5

#: A draining client may state a last request within this time; see trio_lb.proxy.client. Seconds.
cdef double LAST_REQUEST = 1.0

cdef enum State:
    AWAY                        # the general road has the connection, or it has ended
    READING                     # a request's head
    COLLECTING                  # its small body
    CONNECTING
    UPLOADING                   # a large body, as it comes
    WAITING                     # for a response's head
    RELAYING                    # a response


@cython.final
@cython.auto_pickle(False)
cdef class PlainClient(Watched):
    """One client's connection on the plain road; watched until `detach`.

    Args:
        road: of the process.
        fd: the client's socket.
        lines: what servers are told about this client.
        trusted: it is a proxy whose claims count.
        on_served: called with each request that was served: parts of its head (see RequestHead),
            place of the server, whether its connection was reused, status, bytes of the
            response's body and of the request's, the request's id, and when it began.
    """

    cdef PlainRoad road
    cdef ClientLines lines
    cdef const HeadLimits *limits
    cdef object on_served
    cdef object task            # that sleeps in `run`
    cdef Handover ending
    cdef State state
    cdef bint readable          # the last receive did not say that there is nothing more
    cdef bint blocked           # the last send said that there is no room
    cdef bint hung_up           # the client has sent its last byte
    cdef bint draining
    cdef double idle_from       # the last request had ended
    cdef readonly uint64_t served       # requests on this connection, on both roads
    # The request
    cdef Buffer request         # from its first byte, and what came behind it
    cdef size_t seen            # bytes of an incomplete head that were looked at
    cdef size_t request_length  # what of it stays in the buffer: the head, and a small body
    cdef Flow upload            # a large body on its way to the server, behind the head
    cdef bint uploading         # that is how the body goes
    cdef bint choked            # the last send of it said that there is no room
    cdef Pace pace_of_body      # of the client, while it is waited for
    cdef PlainRequest head
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
    cdef Flow flow              # its head is also that of the request, on its way to the server
    cdef uint32_t status        # 0: the client has seen nothing of a response
    cdef bint last              # the connection ends with it
    cdef bint reusable          # its server keeps the connection
    cdef Pace pace              # of the client, where it has to be waited for

    def __init__(
        self, PlainRoad road not None, int fd, ClientLines lines not None, bint trusted,
        on_served=None,
    ):
        self.road = road
        self.began = self.started = NEVER
        self.pace.patience = road.patience.body
        self.pace.rate = road.rate
        self.pace_of_body = self.pace
        road.readiness.watch(self, fd)      # and if it is ready already, that comes as an event
        self.lines = lines
        self.limits = &road.limits_of_trusted if trusted else &road.limits
        self.on_served = on_served

    # 1. The task's side

    async def run(self, bytes unread not None, uint64_t served):
        """Serve plain requests until there is something else to do; see `take_ending`.

        Args:
            unread: bytes that came from it already.
            served: requests that were served on this connection so far.
        """
        self.begin(unread, served)
        if self.state == AWAY:
            # What was begun must reach who settles it; cancellation comes right afterwards.
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.abort)

    def abort(self, _):
        self.task = None
        self.end("cancelled")
        return trio.lowlevel.Abort.SUCCEEDED

    def take_ending(self):
        """The Handover of the run that has ended."""
        ending, self.ending = self.ending, None
        return ending

    def drain(self):
        """Let the response under way be the last; if there is none, wait for no other request."""
        cdef Readiness readiness = self.road.readiness
        self.draining = True
        if self.state == READING and self.began == NEVER:
            # Not at once: a request may be on its way, and would be met by a reset.
            readiness.look_at_clock()
            set_deadline(readiness, self, min(
                readiness.deadlines[self.place], readiness.now + LAST_REQUEST))

    @property
    def idle_since(self):
        """From when on it has been waiting for a request; NEVER while it has one, or is away."""
        return self.idle_from if self.state == READING and self.began == NEVER else NEVER

    def let_go(self):
        """Give up waiting for a request; one that has come meanwhile is served all the same."""
        if self.state == READING and self.began == NEVER and silent(self.fd):
            self.end("left")

    def detach(self):
        """The socket will be closed now."""
        self.road.readiness.forget(self, False)

    cdef int begin(self, bytes unread, uint64_t served) except -1:
        cdef PlainRoad road = self.road
        cdef size_t length = len(unread)
        road.readiness.look_at_clock()
        self.served = served
        self.state = READING
        expect(road.readiness, self, READABLE)      # the other road may have used it up
        self.pace.left = self.pace.patience
        if not length:
            self.await_request()
        elif not road.buffers.reserve(&self.request, length):
            self.end("odd")
            self.ending.unread = unread
        else:
            memcpy(self.request.data, <char *> unread, length)
            self.request.end = length
            self.parse()
        return 0

    cdef void await_request(self) noexcept:
        cdef PlainRoad road = self.road
        cdef double patience = road.patience.client_head
        self.idle_from = road.readiness.now
        if self.served:
            patience = road.patience.keep_alive
        if self.draining:
            patience = min(patience, LAST_REQUEST)
        set_deadline(road.readiness, self, road.readiness.now + patience)
        if self.readable:
            road.readiness.again(self)

    # 2. What is called when something happens

    cdef void on_ready(self, uint32_t events) noexcept:
        if events & (READABLE | ENDED | HUNG_UP | BROKEN):
            self.readable = True
            if events & ~(READABLE | WRITABLE):
                self.hung_up = True
        if events & (WRITABLE | HUNG_UP | BROKEN) and self.blocked:
            self.blocked = False
            pay(&self.pace, self.road.readiness.now, self.fd)
            if self.state == RELAYING:
                self.relay()
        elif self.state == READING or self.state == COLLECTING:
            if self.readable:
                self.read_request()
        elif self.state == UPLOADING:
            self.pass_body_on()
        elif self.state == WAITING and self.hung_up:
            self.look_for_client()
        elif self.state == RELAYING and events & (HUNG_UP | BROKEN):
            self.end("gone", "the client closed its connection before it had its answer")

    cdef void step(self) noexcept:
        if self.state == READING or self.state == COLLECTING:
            if held(&self.request) and self.began == NEVER:
                self.parse()            # came behind the last request
            elif self.readable:
                self.read_request()
        elif self.state == CONNECTING:
            self.finish_connecting()
        elif self.state == UPLOADING:
            self.pass_body_on()
        elif self.state == WAITING:
            self.read_response()
        elif self.state == RELAYING:
            self.relay()

    cdef void on_late(self) noexcept:
        cdef PlainRoad road = self.road
        cdef double now = road.readiness.now
        if self.state == READING:
            self.end("left" if self.began == NEVER else "odd")
        elif self.state == COLLECTING:
            self.end("odd")
        elif self.state == CONNECTING:
            self.connect_error = -1
            discard(self.upstream)
            self.upstream = None
            self.end("odd")
        elif self.state == UPLOADING:
            set_deadline(road.readiness, self, now)     # that is how long there is patience
            self.end("odd")
        elif self.state == WAITING:
            if now >= self.sent + road.patience.response - TICK:
                self.end("odd")
            else:
                set_deadline(road.readiness, self, self.sent + road.patience.response - TICK)
                self.look_for_client()
        elif self.state == RELAYING:
            if not self.blocked:
                self.end("cut", "the server sent nothing of its response for too long")
            else:
                pay(&self.pace, now, self.fd)
                if self.pace.left <= 0.0:
                    self.end("gone", "the client took its answer too slowly")
                else:
                    set_deadline(road.readiness, self, now + self.pace.left)

    cdef void look_for_client(self) noexcept:
        """A server takes its time: is anybody still waiting for its answer?"""
        if self.hung_up and self.road.readiness.now >= self.sent + PATIENCE and at_end(self.fd):
            self.end("gone", "the client closed its connection while it was served")

    # 3. The request

    cdef void read_request(self) noexcept:
        cdef Buffer *buffer = &self.request
        cdef size_t room
        cdef ssize_t count
        if not self.road.buffers.reserve(buffer, held(buffer) + 1):
            self.end("odd")             # a larger head than a buffer
            return
        room = buffer.size - buffer.end
        count = receive(self.fd, buffer, room)
        self.readable = count == <ssize_t> room or self.hung_up and count > 0
        if not self.readable:
            expect(self.road.readiness, self, READABLE)
        if count > 0:
            self.parse()
        elif count == NOTHING:
            if not held(buffer):
                self.road.buffers.give_back(buffer)
        elif count == 0 and held(buffer) or self.state == COLLECTING:
            self.end("odd")
        else:
            self.end("left")

    cdef void parse(self) noexcept:
        cdef PlainRoad road = self.road
        cdef Buffer *buffer = &self.request
        cdef Verdict verdict
        if self.state == COLLECTING:
            self.collect()
            return
        verdict = parse_request(
            buffer.data + buffer.start, held(buffer), self.seen, self.limits, &self.head)
        if self.began == NEVER:
            self.began = road.readiness.now
            if verdict == NEED_MORE:
                set_deadline(
                    road.readiness, self, self.began + road.patience.client_head - TICK)
        if verdict == NEED_MORE:
            self.seen = held(buffer)
            if self.readable:
                road.readiness.again(self)
        elif verdict == HEAD and not self.head.chunked:
            self.started = road.readiness.now
            self.request_length = self.head.length + max(self.head.content_length, 0)
            if self.head.content_length <= <ssize_t> road.replay_body \
                    or held(buffer) >= self.request_length:
                self.collect()
            else:
                self.uploading = True
                self.pick()
        else:
            self.end("odd")

    cdef void collect(self) noexcept:
        """Have all of a small body before a server is picked; see trio_lb.proxy.connection."""
        cdef PlainRoad road = self.road
        if held(&self.request) >= self.request_length:
            self.pick()
        elif not road.buffers.reserve(&self.request, self.request_length):
            self.end("odd")
        elif self.state == READING:
            self.state = COLLECTING
            set_deadline(road.readiness, self, road.readiness.now + min(
                PATIENCE, road.patience.body))
            if self.readable:
                road.readiness.again(self)
        elif self.readable:
            road.readiness.again(self)

    # 4. Its server

    cdef void pick(self) noexcept:
        cdef PlainRoad road = self.road
        cdef double now = road.readiness.now, oldest = road.patience.idle
        cdef int32_t slot = road.selection.pick_slot(road.table.now_ms(now))
        if slot == NOBODY:
            self.end("odd")
            return
        self.server = <Server> road.servers[road.places[slot]]
        if not self.write_request():
            self.end("odd")
            return
        cdef bint once = not self.head.idempotent or self.uploading
        if once:
            oldest = min(oldest, FRESH_ENOUGH)
        while True:
            self.upstream = self.server.take(now - oldest)
            if self.upstream is None:
                self.connect()
                return
            if not once and watched_since(self.upstream) or silent(self.upstream.fd):
                break
            discard(self.upstream)
        self.upstream.user = self
        self.send_request()

    cdef bint write_request(self) noexcept:
        cdef PlainRoad road = self.road
        cdef RequestAdditions additions
        if self.head.request_id.length:
            self.own_id_length = 0
        else:
            self.own_id_length = road.make_id(self.own_id)
        additions.prefix.data = self.server.prefix_data
        additions.prefix.length = self.server.prefix_length
        additions.request_id.data = self.own_id
        additions.request_id.length = self.own_id_length
        additions.pieces = self.lines.pieces
        additions.piece_count = self.lines.count
        if not road.buffers.borrow(&self.flow.head, SMALL):
            return False
        self.flow.head.end = wire_request(
            self.flow.head.data, self.flow.head.size, self.request.data + self.request.start,
            &self.head, &additions)
        return self.flow.head.end > 0

    cdef void connect(self) noexcept:
        cdef PlainRoad road = self.road
        if self.server.dial is None:
            self.end("odd")
            return
        try:
            transport, code = self.server.dial()
        except OSError as exc:
            self.connect_error = exc.errno
            self.end("odd")
            return
        try:
            if code == 0 or code == EINPROGRESS:
                self.upstream = attend(road.readiness, self.server, transport)
        except OSError as exc:
            code = exc.errno
        if self.upstream is None:
            transport.close()
            # The queue of a unix socket that is full: the general road waits for it.
            self.connect_error = 0 if code == EAGAIN else code
            self.end("odd")
            return
        self.upstream.user = self
        if code:
            self.state = CONNECTING
            expect(road.readiness, self.upstream, WRITABLE)
            set_deadline(road.readiness, self, road.readiness.now + road.patience.connect)
        else:
            self.send_request()

    cdef void finish_connecting(self) noexcept:
        if not (self.upstream.writable or self.upstream.ended):
            return
        self.connect_error = socket_error(self.upstream.fd)
        if self.connect_error:
            discard(self.upstream)
            self.upstream = None
            self.end("odd")
        else:
            self.send_request()

    cdef void send_request(self) noexcept:
        cdef PlainRoad road = self.road
        cdef ssize_t count
        if self.uploading:
            self.begin_upload()
            return
        count = send_both(
            self.upstream.fd, self.flow.head.data, self.flow.head.end,
            self.request.data + self.request.start + self.head.length,
            self.request_length - self.head.length)
        if count != <ssize_t> (self.flow.head.end + self.request_length - self.head.length):
            self.flow.head.start = max(count, 0)
            self.end("odd")
            return
        road.buffers.give_back(&self.flow.head)
        self.await_response()

    cdef void begin_upload(self) noexcept:
        """Send the head and what has come of the body; from then on it comes and goes."""
        cdef PlainRoad road = self.road
        cdef size_t here = held(&self.request) - self.head.length
        if not road.buffers.borrow(&self.upload.body, here):
            self.end("odd")
            return
        self.state = UPLOADING
        self.upload.head = self.flow.head
        self.flow.head.data = NULL
        self.flow.head.start = self.flow.head.end = 0
        memcpy(
            self.upload.body.data, self.request.data + self.request.start + self.head.length, here)
        self.upload.body.end = here
        self.request.end = self.request.start + self.head.length
        self.request_length = self.head.length
        begin_body(&self.upload.framing, self.head.content_length, False)
        follow(&self.upload, 0)
        self.pace_of_body.left = self.pace_of_body.patience
        self.pace_of_body.since = road.readiness.now
        self.send_body_on()

    cdef void pass_body_on(self) noexcept:
        """Send what is there of a large body; if that was all, receive more, and send that."""
        cdef PlainRoad road = self.road
        cdef ssize_t count
        if self.upstream.readable or self.upstream.ended:
            self.end("odd")             # an answer before its time
            return
        if self.choked:
            if not self.upstream.writable:
                return
            self.choked = False
            self.pace_of_body.since = road.readiness.now
        if not waiting(&self.upload):
            if not self.readable:
                return
            count = draw(&self.upload, road.buffers, self.fd, self.upload.framing.remaining)
            self.readable = self.upload.flooding or self.hung_up and count > 0
            if not self.readable:
                expect(road.readiness, self, READABLE)
            if count == NOTHING:
                return
            if count <= 0:
                self.end("odd")
                return
            earn(&self.pace_of_body, road.readiness.now, count)
            follow(&self.upload, self.upload.body.start)
        self.send_body_on()

    cdef void send_body_on(self) noexcept:
        """Send the server all that may go, and see what comes next."""
        cdef PlainRoad road = self.road
        cdef double now = road.readiness.now
        cdef ssize_t left = pour(&self.upload, road.buffers, self.upstream.fd)
        if left == FAILED:
            self.end("odd")
        elif left:
            self.choked = True
            self.upstream.writable = False
            expect(road.readiness, self.upstream, WRITABLE)
            set_deadline(road.readiness, self, now + road.patience.body - TICK)
        elif self.upload.framing.state == BODY_END:
            dry(&self.upload, road.buffers)
            self.await_response()
        else:
            set_deadline(road.readiness, self, now + self.pace_of_body.left - TICK)
            if self.readable:
                road.readiness.again(self)

    cdef void await_response(self) noexcept:
        cdef PlainRoad road = self.road
        self.sent = road.readiness.now
        road.readiness.under_way += 1
        self.state = WAITING
        set_deadline(
            road.readiness, self, self.sent + min(PATIENCE, road.patience.response - TICK))

    # 5. Its response

    cdef void read_response(self) noexcept:
        cdef PlainRoad road = self.road
        cdef Buffer *buffer = &self.flow.body
        cdef PlainResponse head
        cdef Verdict verdict
        cdef size_t looked_at = held(buffer)
        cdef ssize_t count
        if not self.upstream.readable:
            return
        # What broke the connection is left for the general road to hear.
        count = FAILED if self.upstream.broken else self.receive_response()
        if count == NOTHING:
            return
        if count <= 0:
            self.end("odd")
            return
        verdict = parse_response(
            buffer.data, buffer.end, looked_at, self.head.head_only, &head)
        if verdict == HEAD:
            self.begin_response(&head)
        elif verdict == NEED_MORE:
            if self.upstream.readable:
                road.readiness.again(self)
        else:
            self.end("odd")

    cdef ssize_t receive_response(self) noexcept:
        cdef ssize_t count = draw(&self.flow, self.road.buffers, self.upstream.fd, LARGE)
        if count == NOTHING:
            self.upstream.readable = False
        else:
            self.upstream.readable = self.flow.flooding or self.upstream.ended
        if not self.upstream.readable:
            expect(self.road.readiness, self.upstream, READABLE)
        return count

    cdef void begin_response(self, PlainResponse *head) noexcept:
        cdef PlainRoad road = self.road
        cdef double now = road.readiness.now
        cdef Buffer *out = &self.flow.head
        self.last = (
            self.head.close or self.draining or road.patience.keep_alive == 0.0
            or self.served + 1 >= road.most_requests)
        if road.buffers.borrow(out, SMALL):
            out.end = write_response(out.data, out.size, self.flow.body.data, head, self.last)
        if not out.end:
            self.end("odd")
            return
        begin_body(
            &self.flow.framing, 0 if head.bodiless else head.content_length,
            head.chunked and not head.bodiless)
        follow(&self.flow, head.length)
        if self.flow.framing.state > BODY_END:
            self.flow.good = 0          # the general road reads all of it
            self.end("odd")
            return
        road.table.record_answer(
            self.server.slot, road.table.now_ms(now), (now - self.sent) * 1e6)
        self.status = head.status
        self.reusable = not head.close
        self.flow.by_pipe = True
        self.state = RELAYING
        self.send_on()

    cdef void relay(self) noexcept:
        """Send what is there to be sent; if that was all, receive more, and send that."""
        cdef ssize_t count
        if self.blocked:
            return
        if not waiting(&self.flow):
            if not self.upstream.readable:
                return
            count = self.receive_response()
            if count == NOTHING:
                return
            if count <= 0:
                self.end("cut", "the server broke its response off")
                return
            follow(&self.flow, self.flow.body.start)
        self.send_on()

    cdef void send_on(self) noexcept:
        """Send the client all that may go, and see what comes next."""
        cdef PlainRoad road = self.road
        cdef ssize_t left = pour(&self.flow, road.buffers, self.fd)
        if left == FAILED:
            self.end("gone", "the client closed its connection before it had its answer")
        elif left:
            self.blocked = True
            expect(road.readiness, self, WRITABLE)
            begin_waiting(&self.pace, road.readiness.now, self.fd)
            set_deadline(road.readiness, self, road.readiness.now + self.pace.left)
        elif self.flow.framing.state == BODY_END:
            self.complete()
        elif self.flow.framing.state == BODY_MORE:
            set_deadline(road.readiness, self, road.readiness.now + road.patience.body)
            if self.upstream.readable:
                road.readiness.again(self)
        elif self.flow.framing.state == BODY_BROKEN:
            self.end("cut", "the server broke its response off")
        else:
            self.end("odd")

    cdef void complete(self) noexcept:
        """Everything is sent: count it, and make ready for the next request."""
        cdef PlainRoad road = self.road
        cdef uint64_t body = self.body_length()
        cdef Upstream upstream = self.upstream
        road.table.record_completion(self.server.slot, self.flow.framing.payload, body)
        if self.reusable and not upstream.ended and self.flow.body.end == self.flow.good and (
                not upstream.readable or silent(upstream.fd)):
            upstream.readable = False
            self.server.keep(upstream)
        else:
            discard(upstream)
        road.table.release_slot(self.server.slot)
        road.table.record_request(self.status)
        if self.on_served is not None:
            self.tell()
        road.readiness.under_way -= 1
        self.upstream = None
        self.server = None
        self.uploading = False
        self.upload.framing.payload = 0
        self.served += 1
        dry(&self.flow, road.buffers)
        self.request.start += self.request_length
        self.status = 0
        self.began = self.started = NEVER
        self.seen = 0
        self.pace.left = self.pace.patience
        if self.last:
            self.end("served")
            return
        self.state = READING
        self.await_request()
        if not held(&self.request):
            road.buffers.give_back(&self.request)
        else:
            road.readiness.again(self)

    cdef void tell(self) noexcept:
        cdef const char *data = self.request.data + self.request.start
        self.on_served(
            request_parts(data, &self.head), self.server.place, self.upstream.reused, self.status,
            self.flow.framing.payload, self.body_length(), self.id_given(), self.started)

    cdef uint64_t body_length(self) noexcept:
        """Bytes that came of the request's body."""
        cdef size_t here = min(self.request_length, held(&self.request))
        return here - self.head.length + self.upload.framing.payload

    # 6. The end of a run

    cdef bytes id_given(self):
        cdef const char *data = self.request.data + self.request.start + self.head.request_id.start
        if self.own_id_length:
            return self.own_id[:self.own_id_length]
        return data[:self.head.request_id.length]

    cdef void end(self, str why, str reason="") noexcept:
        """End the run: what the general road needs goes into `ending`, and the task wakes up."""
        cdef Handover ending = Handover.__new__(Handover)
        ending.why = why
        ending.reason = reason
        ending.unread = as_bytes(self.request.data, self.request.start, self.request.end)
        ending.began = time_or_none(self.began)
        ending.started = time_or_none(self.started)
        ending.connect_error = self.connect_error
        ending.request_id = ending.unsent = ending.received = b""
        ending.collected = self.body_length() if self.server is not None else 0
        ending.status = self.status
        ending.passed = self.flow.framing.payload if self.status else 0
        if self.server is not None:
            ending.place = self.server.place
            ending.request_id = self.id_given()
        if self.upstream is not None:
            ending.reused = self.upstream.reused
            ending.sent = self.sent
            ending.unsent = self.rest_of_request()
            if self.uploading and self.state != CONNECTING:
                self.leave_upload(ending)
            else:
                ending.begun_body = self.body_length()
            ending.received = as_bytes(
                self.flow.body.data, self.flow.good, self.flow.body.end)
            if why == "odd":
                ending.transport = release(self.upstream)
            else:
                discard(self.upstream)
        if self.state == WAITING or self.state == RELAYING:
            self.road.readiness.under_way -= 1
        self.reset()
        self.ending = ending
        task, self.task = self.task, None
        if task is not None:
            self.road.readiness.wake(task)

    cdef bytes rest_of_request(self):
        """What a server did not take at once."""
        cdef size_t body = self.request.start + self.head.length
        cdef size_t body_sent = max(self.flow.head.start, self.flow.head.end) - self.flow.head.end
        if self.state == WAITING or self.state == RELAYING:
            return b""
        if self.state == UPLOADING:
            return as_bytes(self.upload.head.data, self.upload.head.start, self.upload.head.end)
        return as_bytes(self.flow.head.data, self.flow.head.start, self.flow.head.end) + as_bytes(
            self.request.data, body + body_sent,
            min(self.request.start + self.request_length, self.request.end))

    cdef int leave_upload(self, Handover ending) except -1:
        """What came of a large body and has not gone on is read by the general road."""
        cdef Buffer *body = &self.upload.body
        cdef bytes here = as_bytes(body.data, body.start, body.end)
        cdef Readiness readiness = self.road.readiness
        cdef double left = readiness.deadlines[self.place] - readiness.now
        ending.unread += here
        ending.gone = self.upload.framing.payload - len(here)
        ending.patience = min(max(left, 0.0) + TICK, self.road.patience.body)
        return 0

    cdef void reset(self) noexcept:
        cdef PlainRoad road = self.road
        road.buffers.give_back(&self.request)
        dry(&self.flow, road.buffers)
        dry(&self.upload, road.buffers)
        self.upload.framing.payload = 0
        self.uploading = self.choked = False
        set_deadline(road.readiness, self, NEVER)
        expect_nothing(road.readiness, self)
        self.state = AWAY
        self.server = None
        self.upstream = None
        self.connect_error = 0
        self.seen = 0
        self.began = self.started = NEVER
        self.status = 0


cdef object time_or_none(double time):
    return None if time == NEVER else time


cdef bytes as_bytes(const char *data, size_t start, size_t end):
    return data[start:end] if start < end else b""
