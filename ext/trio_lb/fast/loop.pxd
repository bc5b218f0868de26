"""Sockets of the fast path: who is ready, who is late, buffers, pipes, idle connections (Linux)."""

include "loop/pipes.pxd"
include "loop/buffers.pxd"
include "loop/sockets.pxd"
include "loop/readiness.pxd"
include "loop/waits.pxd"
include "loop/epoll.pxd"
include "loop/upstreams.pxd"
