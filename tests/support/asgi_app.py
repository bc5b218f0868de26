"""A small ASGI application for uvicorn: says who asked, echoes, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """`POST /echo`: the body; `/stream`: 100 pieces; anything else: method, path and query."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-asgi", b"yes")]})
    if scope["path"] == "/stream":
        for number in range(100):
            piece = b"%03d\n" % number
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    elif scope["path"] != "/echo":
        body = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()}".encode()
    await send({"type": "http.response.body", "body": body})
