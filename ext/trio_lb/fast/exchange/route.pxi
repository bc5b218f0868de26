"""How a request is forwarded; see route.pxd."""

cimport cython
from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc

from trio_lb.fast.loop cimport Server


@cython.final
@cython.auto_pickle(False)
cdef class Route:
    """What holds for the requests of a route.

    Args:
        table: of the process.
        selection, servers, confined: see `set_members`.
        body_limit: bytes of a request's body; None: any.
        replay_body: bytes up to which a body is collected before a server is picked, or one that
            is chunked is kept to be sent again.
        connect, response: seconds, as in the profile's `timeouts`.
        idle: seconds for which a server's connection may have been idle.
    """

    def __cinit__(
        self, Table table not None, Selection selection not None, list servers not None, *,
        bint confined, body_limit, uint64_t replay_body, double connect, double response,
        double idle,
    ):
        self.capacity = table.capacity
        self.index_at = <int32_t *> malloc(table.capacity * sizeof(int32_t))
        if self.index_at is NULL:
            raise MemoryError
        self.limits.body = -1 if body_limit is None else body_limit
        self.replay_body = replay_body
        self.connect_timeout = connect
        self.response_timeout = response
        self.idle_timeout = idle
        self.set_members(selection, servers, confined)

    def __dealloc__(self):
        free(self.index_at)

    def set_members(self, Selection selection not None, list servers not None, bint confined):
        """Pick from other servers from the next request on; those under way go on with theirs.

        Args:
            selection: over the members of the pool.
            servers: all of them.
            confined: one of them is below a path, which no request may climb out of.

        Raises:
            IndexError: one has no slot in the table; nothing is changed.
        """
        cdef Server server
        cdef int32_t index
        for server in servers:
            if server.slot >= self.capacity:
                raise IndexError(f"no slot {server.slot}")
        for index, server in enumerate(servers):
            self.index_at[server.slot] = index
        self.selection = selection
        self.servers = servers
        self.limits.confined = confined


cdef void find_route(Exchange exchange) noexcept:
    exchange.route = exchange.path.route
