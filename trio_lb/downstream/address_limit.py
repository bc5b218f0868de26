"""`limits.clients_per_address`: how many connections one client may have, over all processes.

With a PROXY header, the client in it is counted and not the sender. Connections of trusted proxies
are not counted, as they carry many clients.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from trio_lb.http.identity import UNIX

if TYPE_CHECKING:
    from trio_lb.http.identity import Peer
    from trio_lb.pool import Permits


class AddressLimit:
    """Lets clients in as far as their addresses have room.

    Args:
        permits: where they are counted.
        most: connections of one address; None for any number.
    """

    def __init__(self, permits: Permits, most: int | None) -> None:
        self._permits = permits
        self._most = most

    @property
    def limits(self) -> bool:
        """Whether there is a limit."""
        return self._most is not None

    def let_in(self, peer: Peer) -> bool:
        """Count a connection; false, and it is not counted, if its address has too many."""
        if self._most is None or not _counts(peer):
            return True
        return self._permits.take_for(address_number(peer.address), self._most)

    def left(self, peer: Peer) -> None:
        """A connection that was let in has ended."""
        if self._most is not None and _counts(peer):
            self._permits.give_back_for(address_number(peer.address))


def _counts(peer: Peer) -> bool:
    return not peer.trusted and peer.address != UNIX


def address_number(address: str) -> int:
    """One number for all addresses that one client may well have.

    That is an IPv4 address, or the 64 bits of a network in IPv6: nobody gets less.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return int(ip) >> 64 if ip.ipv4_mapped is None else int(ip.ipv4_mapped)
    return int(ip)
