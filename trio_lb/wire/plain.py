"""What the compiled head codec gets from the general road, so that both tell servers the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb._writer import ClientLines

if TYPE_CHECKING:
    from .identity import Identification, Peer

#: Values of Host, to see where and how a line contains it: with a port, Forwarded quotes it.
_HOST: Final = b"host.invalid"
_HOST_AND_PORT: Final = b"host.invalid:65535"


def client_lines(identification: Identification, peer: Peer) -> ClientLines | None:
    """The lines that tell servers about a peer's requests, if these claim nothing themselves.

    Returns:
        None if Host isn't simply copied into them.
    """
    pieces = _lines(identification, peer, _HOST).split(_HOST)
    if _lines(identification, peer, _HOST_AND_PORT) != _HOST_AND_PORT.join(pieces):
        return None
    return ClientLines(*pieces)


def _lines(identification: Identification, peer: Peer, host: bytes) -> bytes:
    lines = identification.identify(peer, [], host).lines
    return b"".join(b"%b: %b\r\n" % line for line in lines)
