"""A server's connection that belongs to one client, between two of its requests.

It is never pooled. While it lives, that client's next requests use it, whichever server the
algorithm would pick; they take a connection slot of its server like any other. It is closed with
the client's connection at the latest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trio_lb.http.proxy_protocol import ProxyHeader
    from trio_lb.net.transport import Transport
    from trio_lb.pool import Member


class PersonalConnection(NamedTuple):
    """An idle connection that serves one client alone; see `trio_lb.http.personal`.

    Attributes:
        server: which member of the pool it leads to.
        transport: closed by whoever holds this.
        ends: of the client's connection, as far as we were told by those who are trusted. A proxy
            may speak for somebody else on the same connection, who must not be its user.
    """

    server: Member
    transport: Transport
    ends: ProxyHeader

    @property
    def silent(self) -> bool:
        """Its server has neither closed it nor sent anything since its last answer."""
        return self.transport.peek() is None
