"""A client's end of a tunnel, byte by byte.

async with rig.client() as client:
    tunnel = await enter(client)
    await tunnel.send(b"hello")
    assert await tunnel.receive(5) == b"hello"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.rig import get

if TYPE_CHECKING:
    from tests.support.client import Client, End

#: A request that offers another protocol, as browsers make it.
OFFER = get(
    "/chat",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
)


class Tunnel:
    """A client's end of a tunnel.

    Attributes:
        head: the bytes of the 101.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.head = b""
        self._unread = b""

    async def enter(self) -> None:
        """Reads the 101."""
        while b"\r\n\r\n" not in self._unread:
            data = await self.client.stream.receive_some(65536)
            assert data, self._unread
            self._unread += data
        self.head, _, self._unread = self._unread.partition(b"\r\n\r\n")

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        await self.client.send(data)

    async def receive(self, size: int) -> bytes:
        """Reads so many bytes."""
        while len(self._unread) < size:
            data = await self.client.stream.receive_some(65536)
            assert data, f"the tunnel ended after {len(self._unread)} bytes"
            self._unread += data
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def receive_all(self) -> tuple[bytes, End]:
        """Reads to the end, and says how that came."""
        data, end = await self.client.read_until_close()
        data, self._unread = self._unread + data, b""
        return data, end


async def enter(client: Client, early: bytes = b"", offer: bytes = OFFER) -> Tunnel:
    """Makes an offer that is granted, with bytes of the other protocol right behind it."""
    await client.send(offer + early)
    tunnel = Tunnel(client)
    await tunnel.enter()
    assert tunnel.head.startswith(b"HTTP/1.1 101 "), tunnel.head
    return tunnel
