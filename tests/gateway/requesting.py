"""Plays the cases of requests: every client from an address of its own, all over one balancer.

The server tells the requests of different cases apart by `X-Real-IP`, which clients can't forge.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from tests.gateway.cases import (
    CLIENT,
    SERVER,
    Ending,
    RequestCase,
    Seen,
    get,
    saw,
)
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
from tests.support.strict_http import MalformedError, Request, read_request_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.gateway.cases import Value

#: Cases that are played at the same time.
_AT_ONCE = 40

_GOOD = get(target="/good")
_SAW_GOOD = saw("GET /good")

#: What a server must never see of a client's request, in any spelling: it ends at the gateway.
_NEVER = {"keep-alive", "proxy-connection", "proxy-authorization", "upgrade"}

#: What there is one of, and says what the gateway says, in every request.
_ONCE = ("host", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "x-request-id")

#: Names that a server might mistake for those that the gateway answers for.
_OURS = {*_ONCE, *_NEVER, "content-length", "transfer-encoding", "connection", "forwarded"}


async def run_requests(
    cases: Sequence[RequestCase], way: Way, open_gateway: OpenGateway
) -> tuple[Verdicts, list[Request]]:
    """Plays cases in one way; returns the verdicts and what the server has seen."""
    played = {
        f"127.0.{1 + number // 250}.{1 + number % 250}": _in_way(case, way)
        for number, case in enumerate(cases)
    }
    verdicts = Verdicts({case.name: [] for case in cases})
    limit = trio.CapacityLimiter(_AT_ONCE)
    with verdicts.log_watched():
        async with open_recorder() as recorder, open_gateway(recorder.url) as balancer:
            recorder.on_head, recorder.on_request = send_continue, echo
            url = balancer.addresses[0]

            async def play(address: str, case: RequestCase) -> None:
                async with limit:
                    verdicts.cases[case.name] += await _play(case, way, url, address)

            async with verdicts.nothing_left(balancer):
                async with trio.open_nursery() as nursery:
                    for address, case in played.items():
                        nursery.start_soon(play, address, case)
                recorder.close_connections()
    _judge_server(recorder, played, verdicts)
    return verdicts, recorder.requests


def _in_way(case: RequestCase, way: Way) -> RequestCase:
    if way is Way.BEHIND:
        return replace(case, raw=_GOOD + case.raw, answers=(_SAW_GOOD, *case.answers))
    if way is Way.AHEAD:
        served = (_SAW_GOOD,) if case.ending is Ending.KEPT else ()
        return replace(case, raw=case.raw + _GOOD, answers=(*case.answers, *served))
    return case


# The server


async def send_continue(recording: Recording, head: Request) -> None:
    """Lets a client that waits for it send its body."""
    if head.header("expect") is not None:
        await recording.send(b"HTTP/1.1 100 Continue\r\n\r\n")


async def echo(recording: Recording, request: Request) -> None:
    """Answers with who has asked for what."""
    body = _answer_to(request.header("x-real-ip"), request.method, request.target)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    await recording.send(head if request.method == "HEAD" else head + body)


def _answer_to(address: str | None, method: str, target: str) -> bytes:
    return f"{address} {method} {target}".encode()


# The client


async def _play(case: RequestCase, way: Way, url: str, address: str) -> list[str]:
    pieces = in_pieces(case.raw, case.name) if way is Way.BYTEWISE else [case.raw]
    problems = []
    client: StrictClient | None = None
    with trio.move_on_after(PATIENCE) as scope:
        async with open_strict_client(url, address) as client, trio.open_nursery() as nursery:
            sent = trio.Event()

            async def send() -> None:
                await client.send(pieces, eof=case.eof)
                sent.set()

            nursery.start_soon(send)
            try:
                await _check_answers(client, case, address)
                if case.ending is Ending.KEPT:
                    await sent.wait()
                    await client.finish()
                if rest := await client.rest():
                    raise UnexpectedError(f"more came than was expected: {rest!r}")
            except (UnexpectedError, MalformedError) as exc:
                problems.append(str(exc))
            except trio.BrokenResourceError:
                problems.append(f"reset after {bytes(client.received)!r}")
            nursery.cancel_scope.cancel()
    if scope.cancelled_caught:
        received = b"" if client is None else bytes(client.received)
        problems.append(f"stuck after {received!r}")
    return problems


async def _check_answers(client: StrictClient, case: RequestCase, address: str) -> None:
    for number, answer in enumerate(case.answers, 1):
        method, status = (answer.method, 200) if isinstance(answer, Seen) else ("GET", answer)
        response = await client.response(method)
        if response is None:
            raise UnexpectedError(f"closed instead of answer {number}, which should be {status}")
        if response.status != status:
            raise UnexpectedError(
                f"answer {number} is {response.status} and should be {status}: {response.body!r}"
            )
        if isinstance(answer, Seen) and method != "HEAD":
            expected = _answer_to(address, method, answer.target)
            if response.body != expected:
                raise UnexpectedError(f"answer {number} is another request's: {response.body!r}")
        option = response.header("connection")
        if option != ("close" if _is_last(case, number) else None):
            raise UnexpectedError(f"answer {number} says Connection: {option}")


def _is_last(case: RequestCase, number: int) -> bool:
    """Whether the gateway knows of an answer that it is the last one, and so has to say it."""
    if case.ending is Ending.KEPT or number < len(case.answers):
        return False
    return not (case.eof and isinstance(case.answers[-1], Seen))


# What the server has seen


def _judge_server(
    recorder: Recorder, played: Mapping[str, RequestCase], verdicts: Verdicts
) -> None:
    verdicts.run += recorder.faults
    came: defaultdict[str, list[Request]] = defaultdict(list)
    for request in recorder.requests:
        address = request.header("x-real-ip") or ""
        if address in played:
            came[address].append(request)
        else:
            verdicts.run.append(f"nobody's request: {request.raw!r}")
    for recording in recorder.recordings:
        if recording.rest:
            _judge_rest(recording.rest, played, verdicts)
    for address, case in played.items():
        expected = [answer for answer in case.answers if isinstance(answer, Seen)]
        problems = verdicts.cases[case.name]
        if len(came[address]) != len(expected):
            raw = [request.raw for request in came[address]]
            problems.append(f"{len(raw)} requests reached the server, not {len(expected)}: {raw}")
            continue
        for request, seen in zip(came[address], expected, strict=True):
            problems += _differences(request, seen, address, recorder.authority)


def _judge_rest(rest: bytes, played: Mapping[str, RequestCase], verdicts: Verdicts) -> None:
    """A request of which the server got only a part must be one that went wrong in its body."""
    try:
        head = read_request_head(rest)
    except MalformedError:
        return  # told as a fault already
    case = played.get((head and head.header("x-real-ip")) or "")
    if case is None:
        verdicts.run.append(f"nobody's part of a request: {rest!r}")
    elif not case.in_body:
        verdicts.cases[case.name].append(f"a part of a request reached the server: {rest!r}")


def _differences(request: Request, seen: Seen, address: str, authority: str) -> Iterator[str]:
    host = authority if seen.host == SERVER else seen.host
    for what, found, expected in (
        ("method", request.method, seen.method),
        ("target", request.target, seen.target),
        ("host", request.host, host),
        ("body", request.body, seen.body),
        ("trailers", request.trailers, seen.trailers),
    ):
        if found != expected:
            yield f"{what} is {found!r} and should be {expected!r}"
    always: dict[str, Value] = {
        "x-forwarded-for": CLIENT,
        "x-forwarded-proto": "http",
        "connection": None,
    }
    fields = {
        name: address if value == CLIENT else value
        for name, value in (always | dict(seen.fields)).items()
    }
    yield from wrong_fields({name: request.header(name) for name in fields}, fields)
    names = [name for name, _ in request.fields]
    yield from (f"{name} is there" for name in names if name in _NEVER - fields.keys())
    yield from (f"{names.count(name)} of {name}" for name in _ONCE if names.count(name) != 1)
    twins = [name for name in names if "_" in name and name.replace("_", "-") in _OURS]
    yield from (f"the twin {name} is there" for name in twins)
