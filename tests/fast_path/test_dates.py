"""A response that does not say when it was made says when it came, on both paths."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.rig import get, open_bed, open_rig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.backend import Script
    from tests.support.client import Response

both = pytest.mark.parametrize("kind", ["memory", "sockets"])


def dates(response: Response) -> Sequence[str]:
    return [value for name, value in response.headers if name == "date"]


def assert_of_now(response: Response, before: float) -> None:
    """It has one Date, which is between `before` and now, to the second."""
    (date,) = dates(response)
    assert date.endswith(" GMT")
    assert int(before) <= parsedate_to_datetime(date).timestamp() <= time.time()


async def ask(kind: str, script: Script, method: str = "GET") -> Response:
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get(method=method))
        return await client.read_response(method)


@pytest.mark.parametrize(
    ("method", "script"),
    [
        ("GET", scripts.answer(b"ok")),
        ("GET", scripts.answer(b"no", 404)),
        ("GET", scripts.answer(b"no", 500)),
        ("GET", scripts.chunked([b"a", b"b"])),
        ("GET", scripts.until_close(b"ok")),
        ("GET", scripts.raw(b"HTTP/1.1 204 No Content\r\n\r\n", reset=False)),
        ("GET", scripts.raw(b"HTTP/1.1 304 Not Modified\r\n\r\n", reset=False)),
        ("GET", scripts.answer(headers=[("X-Date", "x"), ("Expires", "0")])),
        ("HEAD", scripts.answer(b"ok")),
    ],
    ids=["200", "404", "500", "chunked", "until-close", "204", "304", "other-fields", "head"],
)
@both
async def test_one_that_has_none_gets_one(kind: str, method: str, script: Script) -> None:
    before = time.time()
    assert_of_now(await ask(kind, script, method), before)


@pytest.mark.parametrize(
    "said", [["Tue, 15 Nov 1994 08:12:31 GMT"], ["never"], [""], ["one", "two"]]
)
@both
async def test_one_that_has_one_keeps_it(kind: str, said: list[str]) -> None:
    response = await ask(kind, scripts.answer(headers=[("Date", value) for value in said]))
    assert dates(response) == said


@both
async def test_a_date_that_was_for_this_hop_is_replaced(kind: str) -> None:
    before = time.time()
    script = scripts.answer(headers=[("Date", "never"), ("Connection", "Date")])
    assert_of_now(await ask(kind, script), before)


@both
async def test_interim_ones_get_none(kind: str) -> None:
    script = scripts.informational(103, [("Link", "x")], scripts.answer(b"ok"))
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get())
        data = b""
        while b"ok" not in data:
            data += await client.stream.receive_some(4096)
    interim, _, final = data.partition(b"\r\n\r\n")
    assert interim.startswith(b"HTTP/1.1 103 ")
    assert b"\nDate:" not in interim
    assert final.count(b"\r\nDate:") == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (get("/", "Max-Forwards: 0", method="OPTIONS"), 200),
        (get(), 503),
    ],
)
async def test_our_own_answers_have_one(request_: bytes, status: int) -> None:
    before = time.time()
    async with open_rig() as rig:
        rig.servers.mark_down(rig.servers.members[0], "test")
        response = await rig.ask(request_)
        assert response.status == status
        assert_of_now(response, before)
