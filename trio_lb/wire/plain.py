"""What the compiled head codec gets from the general road, so that both tell servers the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb._wire import ClientLines

from .admission import admit
from .forwarding import request_lines
from .heads import RequestHead

if TYPE_CHECKING:
    from .forwarding import ClientIdentity

#: Stands for the value of Host, which no address and no scheme contains.
_HOST = b"host.invalid"
_REQUEST = admit(RequestHead(b"GET", b"/", b"1.1", [(b"Host", b"host", _HOST)]))


def client_lines(client: ClientIdentity) -> ClientLines:
    """The lines between Via and X-Request-ID that `request_lines` writes for this client."""
    lines = request_lines(_REQUEST, client, b"", b"")
    names = [name for name, _ in lines]
    told = lines[names.index(b"Via") + 1 : names.index(b"X-Request-ID")]
    return ClientLines(*b"".join(b"%b: %b\r\n" % line for line in told).split(_HOST))
