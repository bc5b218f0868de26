"""Tunnels whose bytes are passed on by compiled code: the same outcome as `tunnel.relay`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from trio_lb.errors import End
from trio_lb.fast.exchange import Tunnel, TunnelOutcome
from trio_lb.net.host_limits import watch_failed
from trio_lb.net.transport import SocketTransport

from . import tunnel

if TYPE_CHECKING:
    from trio_lb.fast.exchange import FastPath
    from trio_lb.net.transport import ByteStream
    from trio_lb.plan import TunnelTimeouts

    from .tunnel import Direction, Relay

_ENDS = {
    TunnelOutcome.BOTH_ENDED: (End.OK, "ok"),
    TunnelOutcome.CLIENT_BROKE_OFF: tunnel.broken_off("client"),
    TunnelOutcome.SERVER_BROKE_OFF: tunnel.broken_off("server"),
    TunnelOutcome.IDLE: tunnel.IDLE,
    TunnelOutcome.NO_MEMORY: (End.FAILED, "out of memory"),
}


def relay_by(fast_path: FastPath) -> Relay:
    """What passes the bytes of tunnels in a process that has a fast path."""
    return partial(_relay, fast_path)


async def _relay(
    fast_path: FastPath, up: Direction, down: Direction, timeouts: TunnelTimeouts
) -> tuple[End, str]:
    """Relay both directions; for the arguments see `tunnel.relay`."""
    client, server = up.source.transport, down.source.transport
    if not (_is_plain(client) and _is_plain(server)):
        return await tunnel.relay(up, down, timeouts)
    try:
        compiled = Tunnel(
            fast_path,
            client.fileno(),
            server.fileno(),
            up.early,
            down.early,
            timeouts.idle,
            timeouts.half_closed,
            down.source_ended,
        )
    except OSError as exc:  # the slow path can do without
        watch_failed(exc)
        return await tunnel.relay(up, down, timeouts)
    except MemoryError:
        return await tunnel.relay(up, down, timeouts)
    up.early = down.early = b""
    try:
        return _ENDS[await compiled.run()]
    finally:
        up.moved, down.moved = compiled.up, compiled.down


def _is_plain(transport: ByteStream) -> TypeGuard[SocketTransport]:
    return isinstance(transport, SocketTransport) and transport.wire is None
