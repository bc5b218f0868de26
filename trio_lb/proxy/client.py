"""A client for the time of its connection: what is kept from one request to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_lb.http.identity import Peer
    from trio_lb.upstream.personal import PersonalConnection


class Client:
    """Whose streams are served.

    Args:
        peer: who is at the other end of its connection.

    Attributes:
        peer: as above.
        personal: an idle connection to a server that serves this client alone.
    """

    __slots__ = ("peer", "personal")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.personal: PersonalConnection | None = None

    def take_personal(self) -> PersonalConnection | None:
        """The connection that is its own, from now on its taker's."""
        own, self.personal = self.personal, None
        return own

    def keep_personal(self, own: PersonalConnection) -> None:
        """Keep a connection for its next request; of several, as of several streams, the latest."""
        self.close_personal()
        self.personal = own

    def close_personal(self) -> None:
        """Close the connection that is its own, if there is one."""
        if self.personal is not None:
            self.personal.transport.close()
            self.personal = None
