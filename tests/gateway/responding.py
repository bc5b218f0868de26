"""Plays the cases of responses: a server that answers with their bytes, and two clients.

The first client gets what comes of them. The second comes when the server has said all it had to
say, and must get its own answer: over the same connection to the server where that is reused,
over another where it must not be. Several balancers play at once, each one case at a time, so that
nobody else takes a connection out of the pool in between.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from tests.gateway.cases import Ending, Outcome, ResponseCase, Then, get
from tests.gateway.verdicts import (
    PATIENCE,
    OpenGateway,
    UnexpectedError,
    Verdicts,
    Way,
    wrong_fields,
)
from tests.support.recorder import Recorder, Recording, open_recorder
from tests.support.strict_client import StrictClient, in_pieces, open_strict_client
from tests.support.strict_http import MalformedError, Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.gateway.cases import Value
    from trio_lb import LoadBalancer

#: Balancers, each with its server.
_LANES = 8

_NEXT = get(target="/next")
_NEXT_BODY = b"the next one's own"

#: What a client must never see of a server's response: it ends at the gateway.
_NEVER = ("keep-alive", "proxy-connection", "proxy-authenticate", "upgrade")


async def run_responses(
    cases: Sequence[ResponseCase], way: Way, open_gateway: OpenGateway
) -> Verdicts:
    """Plays cases in one way: whole, byte by byte, or with the client's next request ahead."""
    verdicts = Verdicts({case.name: [] for case in cases})
    waiting = iter(cases)
    async with AsyncExitStack() as stack:
        stack.enter_context(verdicts.log_watched())
        lanes = []
        for _ in range(_LANES):
            recorder = await stack.enter_async_context(open_recorder())
            lanes.append((recorder, await stack.enter_async_context(open_gateway(recorder.url))))

        async def play_some(recorder: Recorder, balancer: LoadBalancer) -> None:
            for case in waiting:
                server = _Server(case, way, recorder)
                problems = await _play(case, way, balancer.addresses[0], server)
                verdicts.cases[case.name] += [*problems, *recorder.faults]
                recorder.faults.clear()
                recorder.close_connections()

        balancers = [balancer for _, balancer in lanes]
        async with verdicts.nothing_left(*balancers), trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(play_some, *lane)
    return verdicts


class _Server:
    """What the server of a lane does during a case."""

    def __init__(self, case: ResponseCase, way: Way, recorder: Recorder) -> None:
        self._case = case
        self._way = way
        self.recorder = recorder
        self.used: list[Recording] = []  # the connection of each request so far
        self.said = trio.Event()  # all of the case's bytes
        recorder.on_head, recorder.on_request = self._on_head, self._on_request

    async def _on_head(self, recording: Recording, head: Request) -> None:
        if head.target == "/next":
            if self.used:  # else its client is one of the case before, which has failed
                self.used.append(recording)
            return
        self.used.append(recording)
        raw = self._case.raw
        pieces = in_pieces(raw, self._case.name) if self._way is Way.BYTEWISE else [raw]
        try:
            await recording.send(*pieces)
        finally:
            self.said.set()
        if self._case.then is Then.CLOSE:
            recording.close()
        elif self._case.then is Then.RESET:
            recording.reset()

    async def _on_request(self, recording: Recording, request: Request) -> None:
        if request.target == "/next":
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_NEXT_BODY)
            await recording.send(head + _NEXT_BODY)


async def _play(case: ResponseCase, way: Way, url: str, server: _Server) -> list[str]:
    """What is wrong, in words."""
    try:
        with trio.fail_after(PATIENCE):
            async with open_strict_client(url) as client:
                await client.send([case.ask + _NEXT if way is Way.AHEAD else case.ask])
                ending = await _check_answer(client, case)
                await server.said.wait()
                if ending is Ending.KEPT:
                    await _check_next(client, ask=way is not Way.AHEAD)
                    await client.finish()
                if ending is not Ending.RESET and (rest := await client.rest()):
                    raise UnexpectedError(f"more came than was expected: {rest!r}")
            if not case.reused:
                await server.used[0].ended.wait()
            async with open_strict_client(url) as other:
                await _check_next(other)
    except (UnexpectedError, MalformedError) as exc:
        return [str(exc)]
    except trio.BrokenResourceError:
        return ["the client's connection was reset"]
    except trio.TooSlowError:
        return [f"stuck; the server's connections: {server.used}"]
    first, *later = server.used
    if case.reused and any(recording is not first for recording in later):
        return ["the server's connection was not used again"]
    if not case.reused and first in later:
        return ["the server's connection was used again"]
    return []


async def _check_answer(client: StrictClient, case: ResponseCase) -> Ending:
    """Checks what comes of the case's bytes; returns what must become of the connection."""
    try:
        response = await client.response(case.ask.split()[0].decode())
    except trio.BrokenResourceError:
        if case.outcome is Outcome.CUT:
            return Ending.RESET
        raise
    if response is None:
        raise UnexpectedError("closed without an answer")
    if tuple(client.interim) != case.interim:
        raise UnexpectedError(f"interim: {client.interim}, and should be {case.interim}")
    if case.outcome is Outcome.BROKEN and response.status == 502:
        _check_fields(response, {}, Ending.KEPT)
        return Ending.KEPT
    if response.status != case.status:
        raise UnexpectedError(f"{response.status}, and should be {case.status}: {response.body!r}")
    if case.outcome in (Outcome.CUT, Outcome.BROKEN):
        if not response.cut or not case.body.startswith(response.body):
            raise UnexpectedError(f"should be cut, and is {response}")
        return Ending.CLOSED
    if response.cut:
        raise UnexpectedError(f"cut: {response}")
    _check_fields(response, case.fields, case.ending)
    if case.outcome is Outcome.PASSED and response.body != case.body:
        raise UnexpectedError(f"body is {response.body!r}, and should be {case.body!r}")
    if response.trailers != case.trailers:
        raise UnexpectedError(f"trailers are {response.trailers}, and should be {case.trailers}")
    return case.ending


def _check_fields(response: Response, fields: Mapping[str, Value], ending: Ending) -> None:
    option = "close" if ending is Ending.CLOSED else None
    expected = dict.fromkeys(_NEVER) | {"connection": option} | dict(fields)
    found = {name: response.header(name) for name in expected}
    if wrong := list(wrong_fields(found, expected)):
        raise UnexpectedError("; ".join(wrong))


async def _check_next(client: StrictClient, *, ask: bool = True) -> None:
    if ask:
        await client.send([_NEXT])
    response = await client.response("GET")
    if response is None or (response.status, response.body) != (200, _NEXT_BODY):
        raise UnexpectedError(f"the next request got {response}")
