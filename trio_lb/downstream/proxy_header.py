"""PROXY headers of connections: a trusted proxy says who the client is.

A connection that should begin with one and doesn't is closed. Otherwise a client could pose as
somebody else.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

import trio

from trio_lb.errors import ClientError
from trio_lb.http import proxy_protocol
from trio_lb.net.deadlines import Deadline
from trio_lb.net.transport import RECEIVE_SIZE, TimedOut, Transport, TransportBroken, receive

if TYPE_CHECKING:
    from trio_lb.http.identity import Identification, Peer

log = logging.getLogger("trio_lb.proxy")

#: Anybody can cause a refusal: a line at most so often, seconds.
_QUIET: Final = 5.0


class ProxyHeaders:
    """Reads the headers that connections begin with.

    Args:
        identification: who is trusted to send one.
        patience: seconds within which a whole header must be there.
    """

    def __init__(self, identification: Identification, patience: float) -> None:
        self._identification = identification
        self._patience = patience
        self._told_at = -math.inf
        self._untold = 0

    async def receive(self, transport: Transport, proxy: Peer) -> tuple[Peer, bytes] | None:
        """Read the header of a new connection.

        Args:
            transport: its bytes.
            proxy: who is at its other end.

        Returns:
            Whom the proxy speaks for, and what came behind the header; None if the connection is
            to be closed: not from a trusted proxy, or its header is malformed, late or missing.
        """
        if not proxy.trusted:
            self._refuse(proxy, "not from trusted_proxies")
            return None
        try:
            return await self._receive(transport, proxy)
        except ClientError as exc:
            self._refuse(proxy, exc.reason)
        except TimedOut:
            self._refuse(proxy, f"no whole PROXY header within {self._patience:g} s")
        except TransportBroken:
            pass
        return None

    async def _receive(self, transport: Transport, proxy: Peer) -> tuple[Peer, bytes] | None:
        deadline = Deadline(self._patience)
        data = b""
        while (parsed := proxy_protocol.parse(data)) is None:
            more = await receive(transport, deadline.by, RECEIVE_SIZE)
            if not more:
                if data:
                    raise ClientError("the connection ended in its PROXY header")
                return None  # somebody only looked whether we listen
            data += more
        header, length = parsed
        return self._identification.peer_behind(header, proxy), data[length:]

    def _refuse(self, proxy: Peer, reason: str) -> None:
        now = trio.current_time()
        if now - self._told_at < _QUIET:
            self._untold += 1
            return
        before = f" ({self._untold} more like it before)" if self._untold else ""
        log.warning("connection from %s refused: %s%s", proxy.address, reason, before)
        self._told_at, self._untold = now, 0
