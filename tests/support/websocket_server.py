"""An echo server by the `websockets` library: `python -m tests.support.websocket_server PORT`.

It also counts: the text `?` is answered with how many connections there are.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

#: Largest message, bytes.
LIMIT = 1 << 24


async def main(port: int) -> None:
    """Serve until the process is ended."""
    connections = set()

    async def echo(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            async for message in connection:
                await connection.send(str(len(connections)) if message == "?" else message)
        finally:
            connections.discard(connection)

    async with serve(echo, "127.0.0.1", port, max_size=LIMIT, ping_interval=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
