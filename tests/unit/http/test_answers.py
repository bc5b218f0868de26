"""Answers of our own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.http.answers import Answer, error_answer


def header(answer: Answer, name: bytes) -> bytes | None:
    """The value of a field of an answer."""
    return dict(answer.lines).get(name)


def test_text() -> None:
    answer = error_answer(503, "no server is available", request_id=b"r-1", retry_after=10)
    assert (answer.status, answer.reason) == (503, b"Service Unavailable")
    assert answer.body == b"503 Service Unavailable\nno server is available\n"
    assert answer.lines == [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(answer.body)),
        (b"Cache-Control", b"no-store"),
        (b"Retry-After", b"10"),
        (b"X-Request-ID", b"r-1"),
    ]


def test_json() -> None:
    answer = error_answer(504, 'too "slow"', accept=b"application/json", request_id=b"r-1")
    assert header(answer, b"Content-Type") == b"application/json"
    assert header(answer, b"Content-Length") == b"%d" % len(answer.body)
    assert json.loads(answer.body) == {
        "status": 504,
        "error": "Gateway Timeout",
        "detail": 'too "slow"',
        "request_id": "r-1",
    }


def test_a_status_without_a_name() -> None:
    answer = error_answer(599, "odd")
    assert (answer.reason, answer.body) == (b"Error", b"599 Error\nodd\n")


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        (None, False),
        (b"", False),
        (b"*/*", False),
        (b"text/html,application/xhtml+xml,*/*;q=0.8", False),
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/problem+json", True),
        (b"application/json, text/plain, */*", True),
        (b"text/html, application/json;q=0.9", False),
        (b"text/html;q=0.5, application/json;q=0.9", True),
        (b"application/json;q=0", False),
        (b"application/json;q=x", False),
        (b"application/jsonp", False),
        (b";;,,;q", False),
    ],
)
def test_what_the_client_prefers(accept: bytes | None, is_json: bool) -> None:
    kind = header(error_answer(502, "broken", accept=accept), b"Content-Type")
    assert (kind == b"application/json") is is_json


@given(st.binary(max_size=60))
def test_any_accept_is_answered_and_never_repeated(accept: bytes) -> None:
    answer = error_answer(502, "broken", accept=b"application/json," + accept)
    assert answer in (
        error_answer(502, "broken"),
        error_answer(502, "broken", accept=b"application/json"),
    )
