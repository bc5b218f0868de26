"""What a client may be told, and what it was told: the judge of a chaos run. No I/O.

A right and whole answer is always permitted. What else is follows from the plan of the exchange
and from what is done to the processes meanwhile (`Circumstance`). Never permitted, whatever
happens: a wrong byte, a mixture, somebody else's answer, half an answer that looks whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from tests.chaos.plan import (
    DIGEST,
    ECHO,
    IDEMPOTENT,
    KEY,
    UNANSWERED,
    Flavour,
    Flaw,
    Framing,
    Start,
    digest,
    exchange_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.chaos.plan import Exchange
    from tests.support.strict_http import Fields, Response

#: Fields of an answer that are this hop's to decide; all others are the server's.
OURS = frozenset({"via", "date", "connection", "content-length", "transfer-encoding", "trailer"})


class WrongError(Exception):
    """What came must not have come."""


class Circumstance(StrEnum):
    """What is done to the processes while requests are answered."""

    SERVER_STOPPED = "server stopped"
    SERVER_KILLED = "server killed"
    WORKER_STOPPED = "worker stopped"
    WORKER_KILLED = "worker killed"
    SUPERVISOR_STOPPED = "supervisor stopped"
    CLIENT_STOPPED = "client stopped"
    RELOAD = "reload"
    NAMES_FAIL = "names fail"
    DRAIN = "drain"


class Outcome(StrEnum):
    """How an exchange ended for its client; or the status of an answer of the balancer's own."""

    WHOLE = "whole"
    CUT = "cut"  # visibly
    SHORT = "short"  # cut, and no protocol could have told: see `permitted`
    NONE = "none"  # closed without a byte


class End(StrEnum):
    """How a connection ended."""

    OPEN = "open"
    FIN = "fin"
    RESET = "reset"


@dataclass(frozen=True)
class Seen:
    """What a client has seen of an answer.

    Attributes:
        response: the final one, also if it was cut; None: not even its head.
        interim: the 1xx responses before it.
        end: of the connection, if it came before the end of the answer or was that.
        echo: what has come back through a tunnel.
        left: the client has gone before the end.
        half_closed: the client has ended its direction.
    """

    response: Response | None
    interim: tuple[Response, ...] = ()
    end: End = End.OPEN
    echo: bytes = b""
    left: bool = False
    half_closed: bool = False


def judge(exchange: Exchange, seen: Seen, circumstances: frozenset[Circumstance]) -> str:
    """Returns how an exchange ended.

    Raises:
        WrongError: it must not have.
    """
    outcome = _outcome(exchange, seen, circumstances)
    _check_interim(exchange, seen, circumstances, outcome)
    allowed = permitted(exchange, circumstances)
    if seen.half_closed and circumstances:
        allowed |= {Outcome.CUT, Outcome.NONE}  # while nothing comes, it may be taken for gone
    if not seen.left and outcome not in allowed:
        raise WrongError(f"{outcome}, where only {sorted(allowed)} may be")
    return "left" if seen.left else outcome


def permitted(exchange: Exchange, circumstances: frozenset[Circumstance]) -> set[str]:
    """How an exchange may end.

    The rules behind it are those of docs/life-of-a-request.md, "When it goes wrong".
    """
    asked, answer = exchange.asked, exchange.answer
    allowed = _permitted_by_plan(exchange)
    once = not asked.repeatable
    if Flavour.LOOSE in exchange.key.split(".") and once:
        allowed.add("502")  # a reused connection broke, and the request may have been executed
    nowhere = answer.flaw in UNANSWERED and answer.place is None  # no server answers it
    if Circumstance.SERVER_STOPPED in circumstances and (once or nowhere):
        allowed.add("504")
    if Circumstance.SERVER_KILLED in circumstances:
        allowed.add(Outcome.CUT)
        if once:
            allowed.add("502")
        if answer.framing is Framing.CLOSE:
            allowed.add(Outcome.SHORT)  # the system ends a killed process's connections by a FIN
    if Circumstance.WORKER_KILLED in circumstances:
        allowed |= {Outcome.CUT, Outcome.NONE}
        if asked.version == "1.0" and answer.framing is not Framing.LENGTH:
            allowed.add(Outcome.SHORT)  # likewise
    if Circumstance.DRAIN in circumstances:
        allowed.add(Outcome.NONE)  # the request came when the connection had been idle for long
        if asked.upgrade:
            allowed.add(Outcome.CUT)
    return allowed


def behind(last: str) -> str:
    """How a request ended that was sent behind the last answer of its connection.

    Args:
        last: how that answer ended.
    """
    return f"behind {last}"


def unplanned(outcomes: Mapping[str, str]) -> Counter[str]:
    """Those ways of ending that only harm explains."""
    return Counter(
        str(how)
        for key, how in outcomes.items()
        if how != "left"
        and not how.startswith("behind")
        and how not in _permitted_by_plan(exchange_of(key))
    )


def _permitted_by_plan(exchange: Exchange) -> set[str]:
    answer = exchange.answer
    match answer.flaw:
        case Flaw.CUT:
            return {Outcome.CUT, "502"}
        case Flaw.RESETS:
            return {Outcome.WHOLE, Outcome.CUT, "502"}
        case flaw if flaw in UNANSWERED:
            status = "504" if flaw is Flaw.HANG else "502"
            if answer.place is None:
                return {status}
            return {Outcome.WHOLE} if exchange.asked.repeatable else {Outcome.WHOLE, status}
    return {Outcome.WHOLE}


def _outcome(exchange: Exchange, seen: Seen, circumstances: frozenset[Circumstance]) -> str:
    response = seen.response
    if response is None:
        if seen.end is End.OPEN and not seen.left:
            raise WrongError("no answer, and no end")
        return Outcome.NONE
    key = response.header(KEY)
    if key is None:
        return _own_answer(exchange, response)
    if key != exchange.key:
        raise WrongError(f"the answer of {key}")
    _check_head(exchange, response)
    if exchange.asked.upgrade:
        return _tunnelled(exchange, seen)
    body, framed = exchange.body, {name for name, _ in response.fields}
    unframed = exchange.has_body and not framed & {"content-length", "transfer-encoding"}
    if response.cut or (unframed and seen.end is End.RESET):
        if not body.startswith(response.body):
            raise WrongError(_difference("cut body", body, response.body))
        return Outcome.CUT
    if response.body != body:
        if body.startswith(response.body) and Outcome.SHORT in permitted(exchange, circumstances):
            return Outcome.SHORT
        raise WrongError(_difference("body", body, response.body))
    _check_trailers(exchange, response)
    _check_close(exchange, response, circumstances)
    return Outcome.WHOLE


def _own_answer(exchange: Exchange, response: Response) -> str:
    """An answer of the balancer itself is one from head to end, and names its request."""
    status = response.status
    phrase = HTTPStatus(status).phrase
    if exchange.asked.method != "HEAD":
        if response.cut:
            raise WrongError(f"half of a {status} of the balancer's own")
        if not response.body.startswith(f"{status} {phrase}\n".encode()):
            raise WrongError(f"{status} with somebody's body: {response.body[:200]!r}")
    named = response.header("x-request-id")
    if named not in (exchange.key, None):
        raise WrongError(f"{status} for {named}")
    return str(status)


def _check_head(exchange: Exchange, response: Response) -> None:
    asked, answer = exchange.asked, exchange.answer
    if response.status != answer.status:
        raise WrongError(f"status {response.status} for {answer.status}")
    passed = tuple(field for field in response.fields if field[0].startswith("x-"))
    whole = answer.start is Start.AFTER
    word = digest(asked, whole=whole, key=exchange.key)
    expected = ((KEY, exchange.key), (DIGEST, word), *answer.fields)
    if dict(passed).get(DIGEST) != word:
        raise WrongError("the server has read another request")
    if passed != expected:
        raise WrongError(f"fields {passed!r} for {expected!r}")
    others = {name for name, _ in response.fields if not name.startswith("x-")} - OURS
    if others - ({"upgrade"} if asked.upgrade else set()):
        raise WrongError(f"fields of nobody: {others}")
    if framing := _wrong_framing(exchange, response):
        raise WrongError(framing)


def _wrong_framing(exchange: Exchange, response: Response) -> str | None:
    asked, answer = exchange.asked, exchange.answer
    length, coding = response.header("content-length"), response.header("transfer-encoding")
    if asked.upgrade:
        return None if response.header("upgrade") == ECHO else "101 to another protocol"
    if answer.framing is Framing.LENGTH:
        return None if length == str(answer.size) else f"Content-Length {length}"
    if length is not None:
        return f"Content-Length {length} for a body of unknown length"
    if exchange.has_body and (coding is None) != (asked.version == "1.0"):
        return f"Transfer-Encoding {coding} to HTTP/{asked.version}"
    return None


def _check_trailers(exchange: Exchange, response: Response) -> None:
    expected: Fields = exchange.answer.trailers if exchange.has_body else ()
    if exchange.answer.start is Start.SPLIT:
        expected = ((DIGEST, digest(exchange.asked, whole=True, key=exchange.key)),)
    if response.trailers != expected:
        raise WrongError(f"trailers {response.trailers!r} for {expected!r}")


def _check_close(
    exchange: Exchange, response: Response, circumstances: frozenset[Circumstance]
) -> None:
    """An answer is the last one of its connection for a reason, and with one it is."""
    asked, answer = exchange.asked, exchange.answer
    closes = "close" in (response.header("connection") or "").lower()
    must = asked.close or asked.version == "1.0"
    may = answer.start is not Start.AFTER or answer.flaw is not Flaw.NONE
    if not closes and must:
        raise WrongError("no Connection: close")
    if closes and not (must or may or circumstances & {Circumstance.RELOAD, Circumstance.DRAIN}):
        raise WrongError("Connection: close for no reason")


def _tunnelled(exchange: Exchange, seen: Seen) -> str:
    if seen.echo == exchange.upload and seen.end is End.FIN:
        return Outcome.WHOLE
    if not exchange.upload.startswith(seen.echo):
        raise WrongError(_difference("echo", exchange.upload, seen.echo))
    if seen.end is End.OPEN and not seen.left:
        raise WrongError("a tunnel without an end")
    return Outcome.CUT


def _check_interim(
    exchange: Exchange, seen: Seen, circumstances: frozenset[Circumstance], outcome: str
) -> None:
    asked, answer = exchange.asked, exchange.answer
    expected = [100] if asked.expect and answer.start is Start.AFTER else []
    expected += [103] * answer.hints if asked.version == "1.1" else []
    statuses = [response.status for response in seen.interim]
    if seen.half_closed and asked.version == "1.1" and statuses.count(100) > expected.count(100):
        statuses.remove(100)  # by which it was asked whether it is still there
    undisturbed = outcome == Outcome.WHOLE and answer.flaw is Flaw.NONE and not circumstances
    if statuses != expected if undisturbed else Counter(statuses) - Counter(expected):
        raise WrongError(f"interim responses {statuses} for {expected}")
    for number, response in enumerate(r for r in seen.interim if r.status == 103):
        link = response.header("link")
        if link != f"</{exchange.key}/{number}>":
            raise WrongError(f"103 with {link}")


def _difference(what: str, expected: bytes, found: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), None)
    place = min(len(expected), len(found)) if at is None else at
    return (
        f"{what} of {len(found)} bytes for {len(expected)}, differing at {place}: "
        f"{found[place : place + 40]!r} for {expected[place : place + 40]!r}"
    )


def check_executions(
    log: Iterable[str], outcomes: Mapping[str, str], circumstances: frozenset[Circumstance]
) -> list[str]:
    """Holds what the servers have logged against what the clients have seen.

    Args:
        log: lines of all servers (`tests.chaos.server`).
        outcomes: by key, how each exchange ended; see also `behind`.
        circumstances: of all of it.
    """
    wrong: list[str] = []
    begun: Counter[str] = Counter()
    for line in log:
        event, _, rest = line.partition(" ")
        key, _, word = rest.partition(" ")
        if event == "fault":
            wrong.append(f"a server was sent what is no request: {rest}")
        elif event == "begin":
            begun[key] += 1
        elif word != digest(exchange_of(key).asked, whole=True, key=key):
            wrong.append(f"{key}: a server has read another request to its end")
    for key, times in begun.items():
        wrong += _wrong_times(key, times, outcomes.get(key), circumstances)
    wrong += [
        f"{key}: an answer that no server has given"
        for key, outcome in outcomes.items()
        if outcome == Outcome.WHOLE and not begun[key]
    ]
    return wrong


def _wrong_times(
    key: str, times: int, outcome: str | None, circumstances: frozenset[Circumstance]
) -> list[str]:
    exchange = exchange_of(key)
    asked = exchange.asked
    if outcome is None:
        return [f"{key}: executed, and never sent"]
    if outcome.startswith("behind"):
        # The system drops what a killed worker has written and its client has not received yet.
        lost = outcome in (behind(Outcome.CUT), behind(Outcome.NONE))
        if not (lost and Circumstance.WORKER_KILLED in circumstances):
            return [f"{key}: executed, {outcome}: the last answer of its connection"]
    once = asked.method not in IDEMPOTENT or asked.upgrade
    calm = Flavour.CALM in key.split(".") and not circumstances
    if times > 1 and (once or calm):
        return [f"{key}: {asked.method} executed {times} times"]
    return []
