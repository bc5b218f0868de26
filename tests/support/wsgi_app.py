"""A small WSGI application for gunicorn: says who asked, echoes, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`POST /echo`: the body; `/stream`: 100 pieces; anything else: method, path, query, host."""
    body: bytes = environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"%03d\n" % number for number in range(100))
    if path != "/echo":
        host = environ["HTTP_HOST"]
        body = f"{environ['REQUEST_METHOD']} {path}?{environ['QUERY_STRING']} of {host}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
