"""Sockets of the fast path: who is ready, who is late, buffers, pipes, idle connections (Linux)."""

include "loop/pipes.pxi"
include "loop/buffers.pxi"
include "loop/channel.pxi"
include "loop/readiness.pxi"
include "loop/waits.pxi"
include "loop/epoll.pxi"
include "loop/upstreams.pxi"
