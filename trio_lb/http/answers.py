"""Responses of trio-lb itself, sent when there is none of a server to pass on.

The body never contains anything that the client sent, except a request id that passed a strict
check. Plain text unless the client prefers JSON.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trio_lb.plan import ErrorPage

    from .heads import FieldLine


class Answer(NamedTuple):
    """A complete response: `lines` frame `body` with Content-Length."""

    status: int
    reason: bytes
    lines: list[FieldLine]
    body: bytes


def error_answer(
    status: int,
    detail: str,
    *,
    accept: bytes | None = None,
    request_id: bytes | None = None,
    retry_after: int | None = None,
    page: ErrorPage | None = None,
) -> Answer:
    """The answer for a request that ends here.

    Args:
        status: 400 to 599.
        detail: one sentence; must not contain what the client sent.
        accept: the request's Accept field.
        request_id: the id that servers and logs know this request by.
        retry_after: seconds after which it makes sense to try again.
        page: the user's own for this status; takes the place of the text, whatever is accepted.
    """
    phrase = _phrase(status)
    if page is not None:
        kind, body = page.content_type.encode(), page.body
    elif _prefers_json(accept):
        content: dict[str, object] = {"status": status, "error": phrase, "detail": detail}
        if request_id is not None:
            content["request_id"] = request_id.decode("ascii")
        kind, body = b"application/json", json.dumps(content).encode() + b"\n"
    else:
        kind, body = b"text/plain; charset=utf-8", f"{status} {phrase}\n{detail}\n".encode()
    lines = [(b"Content-Type", kind), (b"Content-Length", b"%d" % len(body))]
    lines.append((b"Cache-Control", b"no-store"))
    if retry_after is not None:
        lines.append((b"Retry-After", b"%d" % retry_after))
    if request_id is not None:
        lines.append((b"X-Request-ID", request_id))
    return Answer(status, phrase.encode(), lines, body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _prefers_json(accept: bytes | None) -> bool:
    """True if JSON is asked for by name, at least as much as any text (RFC 9110 section 12.5.1)."""
    if accept is None:
        return False
    weights = {b"json": 0.0, b"text": 0.0}
    for part in accept.lower().split(b","):
        kind, *parameters = (piece.strip() for piece in part.split(b";"))
        weight = _quality(parameters)
        if kind == b"application/json" or (
            kind.startswith(b"application/") and kind.endswith(b"+json")
        ):
            weights[b"json"] = max(weights[b"json"], weight)
        elif kind.startswith(b"text/"):
            weights[b"text"] = max(weights[b"text"], weight)
    return weights[b"json"] > 0 and weights[b"json"] >= weights[b"text"]


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
