"""Fields about a client for the compiled head codec, so that both paths send the same."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from trio_lb.fast.http1 import ClientLines

from .identity import Peer
from .proxy_protocol import ProxyHeader

if TYPE_CHECKING:
    from .heads import Field, FieldLine
    from .identity import Identification
    from .proxy_protocol import Endpoint

#: Values of Host, to see where lines contain it. Forwarded quotes the second: it is no token.
#: Nobody can claim to be called so.
_HOST: Final = b"%b.invalid" % secrets.token_hex(16).encode()
_HOST_AND_PORT: Final = b"%b:65535" % _HOST

_LENGTH: Final = re.compile(rb"(\r\ncontent-length:[ \t]*)(\d+)", re.IGNORECASE)


def client_lines(
    identification: Identification, address: str, destination: Endpoint | None
) -> ClientLines:
    """The lines that tell servers about a peer's requests, if these claim nothing themselves.

    Args:
        identification: knows what servers are told.
        address: of the peer; see `Peer`.
        destination: our end of its connection.
    """
    peer = Peer(address, False, ProxyHeader(destination=destination))
    return claimed_lines(identification, peer, [])[1]


def claimed_lines(
    identification: Identification, peer: Peer, fields: list[Field]
) -> tuple[str, ClientLines]:
    """The client of a request that comes from a peer, and the lines that tell servers about it.

    Args:
        identification: knows what servers are told.
        peer: where the request comes from.
        fields: all of its field lines.
    """
    identity = identification.identify(peer, fields, _HOST)
    with_port = identification.identify(peer, fields, _HOST_AND_PORT)
    pieces = _written(identity.lines).split(_HOST)
    quoting = _written(with_port.lines).split(_HOST_AND_PORT)
    return identity.address, ClientLines(*pieces, quoting=tuple(quoting))


def from_here(request: bytes, gone: int) -> bytes:
    """A request of whose body only the end is still here, as one with no other body than that.

    Args:
        request: its head, and what came behind the bytes that are gone. If it is chunked, no
            length is to be changed.
        gone: bytes of its body.
    """

    def less(line: re.Match[bytes]) -> bytes:
        return line[1] + str(int(line[2]) - gone).encode()

    head, end, rest = request.partition(b"\r\n\r\n")
    return _LENGTH.sub(less, head, count=1) + end + rest


def _written(lines: list[FieldLine]) -> bytes:
    return b"".join(b"%b: %b\r\n" % line for line in lines)
