"""At the C level, nothing behind the given length is read or written: there, a page forbids both.

A byte too far ends the whole test run with a segmentation fault, which is meant.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.http_bytes import (
    chunked_bodies,
    mutated,
    odd_chunked_bodies,
    ordinary_requests,
    ordinary_responses,
)
from trio_lb.fast import http1
from trio_lb.fast.http1 import (
    BodyFraming,
    ClientLines,
    Request,
    Response,
    read_request,
    read_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

POINTER, SIZE, INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
NEED_MORE, HEAD, FALLBACK = range(3)  # Verdict in parser.pxd


class Limits(ctypes.Structure):
    """HeadLimits in parser.pxd."""

    _fields_ = (
        ("head", ctypes.c_uint32),
        ("target", ctypes.c_uint32),
        ("fields", ctypes.c_uint32),
    )


class Slice(ctypes.Structure):
    """Slice in writer.pxd."""

    _fields_ = (("data", ctypes.c_char_p), ("length", SIZE))


class Additions(ctypes.Structure):
    """RequestAdditions in writer.pxd."""

    _fields_ = (
        ("prefix", Slice),
        ("request_id", Slice),
        ("pieces", ctypes.POINTER(Slice)),
        ("piece_count", ctypes.c_uint32),
    )


LIMITS = ctypes.byref(Limits(16384, 8192, 100))
RESULT = ctypes.create_string_buffer(4096)  # room for whatever is filled in


def c_function(offers: Mapping[str, object], name: str, *arguments: type) -> Callable[..., int]:
    """A C-level function that a compiled module offers to others."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = POINTER
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule = offers[name]
    address = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    return ctypes.CFUNCTYPE(SIZE if "room" in name or "write" in name else INT, *arguments)(address)


def last_bytes_of_a_page() -> int:
    """Where memory ends: the address behind a page, the next of which can't be read."""
    memory = mmap.mmap(-1, 4 * mmap.PAGESIZE)
    KEPT.append(memory)
    end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + 2 * mmap.PAGESIZE
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [POINTER, SIZE, INT]
    assert protect(end, 2 * mmap.PAGESIZE, 0) == 0
    return end


KEPT: list[mmap.mmap] = []
END = last_bytes_of_a_page()
PARSE_REQUEST = c_function(
    http1.__pyx_capi__, "parse_request", POINTER, SIZE, SIZE, POINTER, POINTER
)
PARSE_RESPONSE = c_function(http1.__pyx_capi__, "parse_response", POINTER, SIZE, SIZE, INT, POINTER)
REQUEST_ROOM = c_function(http1.__pyx_capi__, "request_room", POINTER, POINTER)
WRITE_REQUEST = c_function(
    http1.__pyx_capi__, "write_request", POINTER, SIZE, ctypes.c_char_p, POINTER, POINTER
)
RESPONSE_ROOM = c_function(http1.__pyx_capi__, "response_room", POINTER)
WRITE_RESPONSE = c_function(
    http1.__pyx_capi__,
    "write_response",
    POINTER,
    SIZE,
    ctypes.c_char_p,
    POINTER,
    ctypes.c_char_p,
    INT,
)
BEGIN_BODY = c_function(http1.__pyx_capi__, "begin_body", POINTER, ctypes.c_int64, INT)
FEED_BODY = c_function(http1.__pyx_capi__, "feed_body", POINTER, POINTER, SIZE, POINTER)


def at_the_end(data: bytes) -> int:
    """Put `data` where memory ends; returns its address."""
    ctypes.memmove(END - len(data), data, len(data))
    return END - len(data)


def verdict(answer: Request | Response | bool | None) -> int:
    return NEED_MORE if answer is None else FALLBACK if answer is False else HEAD


@given(st.one_of(ordinary_requests(), mutated(ordinary_requests())))
def test_requests(head: bytes) -> None:
    for length in range(len(head) + 1):
        data = head[:length]
        expected = read_request(data, head_limit=16384, target_limit=8192, field_limit=100)
        came = PARSE_REQUEST(at_the_end(data), length, 0, LIMITS, RESULT)
        assert came == verdict(expected)


@given(st.one_of(ordinary_responses(), mutated(ordinary_responses())))
def test_responses(head: bytes) -> None:
    for length in range(len(head) + 1):
        data = head[:length]
        came = PARSE_RESPONSE(at_the_end(data), length, 0, 0, RESULT)
        assert came == verdict(read_response(data))


def parsed_request(head: bytes) -> Request:
    """The head, parsed; also at RESULT."""
    request = read_request(head, head_limit=16384, target_limit=8192, field_limit=100)
    assert request
    assert PARSE_REQUEST(head, len(head), 0, LIMITS, RESULT) == HEAD
    return request


@given(ordinary_requests(), st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.binary())
def test_written_requests(head: bytes, pieces: list[bytes], prefix: bytes) -> None:
    expected = parsed_request(head).write(ClientLines(*pieces), b"id", prefix)
    array = (Slice * len(pieces))(*[Slice(piece, len(piece)) for piece in pieces])
    additions = Additions(Slice(prefix, len(prefix)), Slice(b"id", 2), array, len(pieces))
    room = REQUEST_ROOM(RESULT, ctypes.byref(additions))
    out = END - room
    assert WRITE_REQUEST(out, room - 1, head, RESULT, ctypes.byref(additions)) == 0
    length = WRITE_REQUEST(out, room, head, RESULT, ctypes.byref(additions))
    assert ctypes.string_at(out, length) == expected


def test_the_bound_of_a_written_response() -> None:
    head = b"HTTP/1.1 200\r\nTransfer-Encoding:chunked\r\nVia:b\r\nA:\r\n\r\n"
    response = read_response(head)
    assert response
    assert PARSE_RESPONSE(head, len(head), 0, 0, RESULT) == HEAD
    assert len(response.write(True, 1_800_000_000)) <= RESPONSE_ROOM(RESULT)


# Whatever a writer adds on its own is most where nothing else is there.
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost:a\r\nContent-Length:999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding:chunked\r\nVia:b\r\nA:\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_the_bound_of_a_written_request(head: bytes, size: int) -> None:
    """With what comes from the caller, however long, and no more than a little above the length."""
    request = parsed_request(head)
    long = b"x" * size
    array = (Slice * 4)(*[Slice(long, size)] * 4)
    additions = Additions(Slice(long, size), Slice(long, size), array, 4)
    room = REQUEST_ROOM(RESULT, ctypes.byref(additions))
    written = request.write(ClientLines(long, long, long, long), long, long)
    assert len(written) <= room <= len(written) + 192


DATE = b"Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n"


@given(ordinary_responses(), st.booleans())
def test_written_responses(head: bytes, close: bool) -> None:
    response = read_response(head)
    assert response
    assert PARSE_RESPONSE(head, len(head), 0, 0, RESULT) == HEAD
    room = RESPONSE_ROOM(RESULT)
    assert WRITE_RESPONSE(END - room, room - 1, head, RESULT, DATE, close) == 0
    length = WRITE_RESPONSE(END - room, room, head, RESULT, DATE, close)
    expected = response.write(close, 1_800_000_000)
    if response.until_close:  # only who relays it knows whether it goes on in chunks
        expected = expected.replace(b"Transfer-Encoding: chunked\r\n", b"")
    assert ctypes.string_at(END - room, length) == expected


@given(st.one_of(chunked_bodies(), odd_chunked_bodies()))
def test_chunked_bodies(body: bytes) -> None:
    good = SIZE()
    for length in range(len(body) + 1):
        data = body[:length]
        framing = BodyFraming(chunked=True)
        BEGIN_BODY(RESULT, -1, 1)
        state = FEED_BODY(RESULT, at_the_end(data), length, ctypes.byref(good))
        assert (good.value, state) == (framing.feed(data), framing.state)
