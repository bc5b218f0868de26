"""Responses of all kinds that stay on the fast path, cut anywhere on their way."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from tests.fast_path.test_same_outcomes import Case, outcome
from tests.support.http_bytes import cut
from tests.support.rig import get

if TYPE_CHECKING:
    from tests.support.backend import Exchange, Script


class Answer(NamedTuple):
    """What a server sends, the same to every request.

    Attributes:
        data: all of it.
        then: "keeps" the connection, or ends it: "closes", "resets".
    """

    data: bytes
    then: str = "keeps"


ANSWERS = {
    "HTTP/1.0": Answer(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "closes"),
    "HTTP/1.0 that keeps": Answer(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "HTTP/1.0, nothing": Answer(
        b"HTTP/1.0 404 Not Found\r\nVia: 1.0 x\r\nContent-Length: 0\r\n\r\n", "closes"
    ),
    "HTTP/1.0, cut": Answer(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello", "closes"),
    "HTTP/1.0, 304": Answer(b"HTTP/1.0 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "closes"),
}

#: So many requests in a row, each with its response in other pieces.
TIMES = 5


def in_pieces(answer: Answer) -> Script:
    """Answers whole at first, then byte by byte, then cut anywhere."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        number = int(exchange.request.target[1:])
        random = Random(number)
        size = len(answer.data)
        places = [random.randrange(size) for _ in range(number)]
        pieces = cut(answer.data, list(range(size)) if number == 1 else places if number else [])
        for piece in pieces:
            if piece is not pieces[0]:
                await trio.sleep(0.001)
            await exchange.send(piece)
        if answer.then == "closes":
            await exchange.close()
        elif answer.then == "resets":
            await exchange.reset()

    return script


async def compare(case: Case, on_slow_path: list[bytes]) -> None:
    """Both paths do the same, and the fast one does it by itself."""
    with trio.fail_after(30):
        fast = await outcome(case, True)
        assert on_slow_path == []
        assert fast == await outcome(case, False)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_cut_anywhere(name: str, version: str, on_slow_path: list[bytes]) -> None:
    """On one connection, as long as it is kept."""
    answer = ANSWERS[name]
    whole = "cut" not in name
    sends = [([get(f"/{number}", version=version)], ["GET"]) for number in range(TIMES)]
    cases = [Case(name, sends, [in_pieces(answer)])]
    if version == "1.0" or not whole:
        cases = [Case(name, [each], [in_pieces(answer)]) for each in sends]
    for case in cases:
        await compare(case, on_slow_path)
        on_slow_path.clear()


@pytest.mark.parametrize("name", ANSWERS)
async def test_to_head(name: str, on_slow_path: list[bytes]) -> None:
    """In answer to HEAD, nothing is behind the head."""
    answer = ANSWERS[name]
    data = answer.data[: answer.data.index(b"\r\n\r\n") + 4]
    sends = [([get(f"/{number}", method="HEAD")], ["HEAD"]) for number in range(TIMES)]
    await compare(Case(name, sends, [in_pieces(Answer(data, answer.then))]), on_slow_path)
