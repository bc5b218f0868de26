"""The judge of chaos runs catches each kind of wrong answer: those that are planted here."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos import messages, quiet
from tests.chaos.oracle import (
    Circumstance,
    End,
    Seen,
    WrongError,
    behind,
    check_executions,
    judge,
    permitted,
    unplanned,
)
from tests.chaos.plan import (
    Exchange,
    Flavour,
    Flaw,
    Framing,
    Start,
    digest,
    exchange_of,
)
from tests.support.strict_http import read_response

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING: frozenset[Circumstance] = frozenset()
ALL = frozenset(Circumstance)


def find(condition: Callable[[Exchange], object], flavour: Flavour = Flavour.CALM) -> Exchange:
    """The first exchange that is like that."""
    for number in range(20_000):
        exchange = exchange_of(f"1.{flavour}.{number}")
        if condition(exchange):
            return exchange
    raise AssertionError("the plan has no such exchange")


def is_plain(exchange: Exchange) -> bool:
    """With a body of which bytes can be lost, in the most ordinary framing."""
    asked, answer = exchange.asked, exchange.answer
    special = asked.upgrade or asked.close or asked.expect or asked.version == "1.0"
    ordinary = answer.framing is Framing.LENGTH and answer.start is Start.AFTER
    return exchange.has_body and not special and ordinary and 100 < answer.size < 1000


def is_chunked(exchange: Exchange) -> bool:
    """With a chunked body, and trailers behind it."""
    asked, answer = exchange.asked, exchange.answer
    return (
        exchange.has_body and bool(answer.trailers) and 10 < answer.size < 1000 and not asked.close
    )


PLAIN = find(lambda exchange: is_plain(exchange) and exchange.asked.method == "GET")
POST = find(lambda exchange: is_plain(exchange) and exchange.asked.method == "POST")
OTHER = find(lambda exchange: is_plain(exchange) and exchange not in (PLAIN, POST))
CHUNKED = find(is_chunked)
HINTED = find(lambda exchange: is_plain(replace(exchange)) and exchange.answer.hints > 1)
TUNNEL = find(lambda exchange: exchange.asked.upgrade and exchange.asked.size > 10)


def honest(exchange: Exchange) -> bytes:
    """The answer as a right balancer passes it on, for the ordinary ones that are used here."""
    word = digest(exchange.asked, whole=True, key=exchange.key)
    head, body = messages.answer_parts(exchange, word, word)
    head = head.replace(b"Connection: close\r\n", b"")
    hints = b"".join(messages.hint(exchange, number) for number in range(exchange.answer.hints))
    return hints + head[:-2] + b"Via: 1.1 trio-lb\r\n\r\n" + body


def seen(exchange: Exchange, data: bytes, end: End = End.OPEN, *, left: bool = False) -> Seen:
    """What a client makes of these bytes."""
    interim = []
    closed = end is not End.OPEN
    response = read_response(data, exchange.asked.method, closed=closed)
    while response is not None and response.status < 200 and response.status != 101:
        interim.append(response)
        data = data[len(response.raw) :]
        response = read_response(data, exchange.asked.method, closed=closed)
    echo = data[len(response.raw) :] if response and response.status == 101 else b""
    return Seen(response, tuple(interim), end, echo, left)


@pytest.mark.parametrize("exchange", [PLAIN, POST, CHUNKED, HINTED], ids=lambda each: each.key)
def test_a_right_answer_is_right(exchange: Exchange) -> None:
    assert judge(exchange, seen(exchange, honest(exchange)), NOTHING) == "whole"
    assert judge(exchange, seen(exchange, honest(exchange)), ALL) == "whole"


def test_a_right_tunnel_is_right() -> None:
    data = honest(TUNNEL) + TUNNEL.upload
    assert judge(TUNNEL, seen(TUNNEL, data, End.FIN), NOTHING) == "whole"


def flip(data: bytes, at: int) -> bytes:
    """One bit is another one."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


def mixed() -> bytes:
    """The head of one answer, and the body of another one."""
    head, _, _ = honest(PLAIN).partition(b"\r\n\r\n")
    size = PLAIN.answer.size
    return head + b"\r\n\r\n" + (OTHER.body * 10)[:size]


def half_mixed() -> bytes:
    """The first half of one answer, the second half of another one."""
    data, size = honest(PLAIN), PLAIN.answer.size
    return data[: -size // 2] + (OTHER.body * 10)[: len(data) - len(data[: -size // 2])]


def shortened(exchange: Exchange, by: int) -> bytes:
    """A body without its end, framed as if it were whole."""
    size = b"Content-Length: %d"
    old, new = size % exchange.answer.size, size % (exchange.answer.size - by)
    return honest(exchange).replace(old, new)[:-by]


def ended_early() -> bytes:
    """A chunked body that ends as if it were whole, before its time."""
    head, _, body = honest(CHUNKED).partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + b"0" + body[body.rindex(b"\r\n0\r\n") + 3 :]


def put(exchange: Exchange, old: bytes, new: bytes) -> bytes:
    """An answer with something else in it."""
    assert old in honest(exchange)
    return honest(exchange).replace(old, new, 1)


OWN = b"HTTP/1.1 %d %b\r\nContent-Length: %d\r\nX-Request-ID: %b\r\n\r\n%b"


def own(status: int, phrase: bytes, body: bytes, exchange: Exchange = PLAIN) -> bytes:
    """An answer of the balancer's own."""
    return OWN % (status, phrase, len(body), exchange.key.encode(), body)


def trailers_of(exchange: Exchange) -> bytes:
    return b"".join(f"{k}: {v}\r\n".encode("latin-1") for k, v in exchange.answer.trailers)


IN_CHUNK = honest(CHUNKED).index(b"\r\n", honest(CHUNKED).index(b"\r\n\r\n") + 4) + 5
_MARK = PLAIN.answer.fields[0][0].encode()

#: What was lied about: the exchange, the bytes that a client got, and what the judge says.
LIES: dict[str, tuple[Exchange, bytes, str]] = {
    "a wrong byte": (PLAIN, flip(honest(PLAIN), -7), "differing at"),
    "a wrong byte of a chunk": (CHUNKED, flip(honest(CHUNKED), IN_CHUNK), "differing at"),
    "a byte less": (PLAIN, shortened(PLAIN, 1), "Content-Length"),
    "chunks that end early": (CHUNKED, ended_early(), "body of 0 bytes"),
    "somebody else's answer": (PLAIN, honest(OTHER), f"the answer of {OTHER.key}"),
    "somebody else's body": (PLAIN, mixed(), "differing at 0"),
    "half of somebody else's body": (PLAIN, half_mixed(), "differing at"),
    "another status": (PLAIN, re.sub(rb" \d+ .*?\r", b" 299 \r", honest(PLAIN), count=1), "status"),
    "a field less": (PLAIN, put(PLAIN, b"\r\n" + _MARK + b":", b"\r\ny-c-0:"), "fields"),
    "a field more": (PLAIN, put(PLAIN, b"Via:", b"x-c-99: a\r\nVia:"), "fields"),
    "a field of another hop": (PLAIN, put(PLAIN, b"Via:", b"keep-alive: 5\r\nVia:"), "of nobody"),
    "another request executed": (
        PLAIN,
        re.sub(rb"digest: .", b"digest: x", honest(PLAIN)),
        "read another request",
    ),
    "no trailers": (
        CHUNKED,
        put(CHUNKED, b"\r\n0\r\n" + trailers_of(CHUNKED), b"\r\n0\r\n"),
        "trailers",
    ),
    "a hint less": (HINTED, honest(HINTED)[len(messages.hint(HINTED, 0)) :], "interim responses"),
    "a 100 unasked": (PLAIN, b"HTTP/1.1 100 Continue\r\n\r\n" + honest(PLAIN), "interim responses"),
    "hints in a wrong order": (HINTED, put(HINTED, b"/0>", b"/1>"), "103 with"),
    "a close for no reason": (
        PLAIN,
        put(PLAIN, b"Via:", b"Connection: close\r\nVia:"),
        "for no reason",
    ),
    "a 502 for no reason": (
        PLAIN,
        own(502, b"Bad Gateway", b"502 Bad Gateway\nx\n"),
        "502, where only",
    ),
    "a 503 for no reason": (
        PLAIN,
        own(503, b"Service Unavailable", b"503 Service Unavailable\n"),
        "503, where only",
    ),
    "a 502 with somebody's body": (PLAIN, own(502, b"Bad Gateway", OTHER.body), "somebody's body"),
    "a 502 of somebody else": (
        PLAIN,
        own(502, b"Bad Gateway", b"502 Bad Gateway\n", OTHER),
        f"502 for {OTHER.key}",
    ),
    **{
        f"what was never asked for, {number}": (PLAIN, data, "somebody's body")
        for number, data in enumerate(messages.UNASKED)
        if data.startswith(b"HTTP/1.1 2")
    },
    "an echo of other bytes": (TUNNEL, honest(TUNNEL) + flip(TUNNEL.upload, 3), "echo of"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found(name: str) -> None:
    exchange, data, words = LIES[name]
    end = End.FIN if exchange is TUNNEL else End.OPEN
    with pytest.raises(WrongError, match=re.escape(words)):
        judge(exchange, seen(exchange, data, end), NOTHING)


#: Those that no harm explains.
NEVER = [name for name in LIES if "for no reason" not in name and "hint less" not in name]


@pytest.mark.parametrize("name", NEVER)
def test_no_harm_explains_a_lie(name: str) -> None:
    exchange, data, _ = LIES[name]
    end = End.FIN if exchange is TUNNEL else End.OPEN
    with pytest.raises(WrongError):
        judge(exchange, seen(exchange, data, end), ALL)


@pytest.mark.parametrize("name", [name for name in NEVER if "502" not in name])
def test_a_client_that_has_left_must_not_have_seen_one_either(name: str) -> None:
    exchange, data, _ = LIES[name]
    with pytest.raises(WrongError):
        judge(exchange, seen(exchange, data, End.FIN, left=True), NOTHING)


@pytest.mark.parametrize("exchange", [PLAIN, CHUNKED], ids=["length", "chunked"])
def test_a_cut_answer_needs_a_reason(exchange: Exchange) -> None:
    cut = seen(exchange, honest(exchange)[:-1], End.FIN)
    with pytest.raises(WrongError, match="cut, where only"):
        judge(exchange, cut, NOTHING)
    assert judge(exchange, cut, frozenset({Circumstance.WORKER_KILLED})) == "cut"


def test_no_answer_needs_a_reason() -> None:
    nothing = Seen(None, end=End.FIN)
    with pytest.raises(WrongError, match="none, where only"):
        judge(PLAIN, nothing, NOTHING)
    with pytest.raises(WrongError, match="none, where only"):
        judge(PLAIN, nothing, frozenset({Circumstance.SERVER_KILLED}))
    assert judge(PLAIN, nothing, frozenset({Circumstance.WORKER_KILLED})) == "none"
    with pytest.raises(WrongError, match="no answer, and no end"):
        judge(PLAIN, Seen(None), ALL)


def test_what_may_be_repeated_never_fails_for_one_server() -> None:
    """It is asked again elsewhere; what may have been executed is not."""
    flaws = {Flaw.SILENT, Flaw.GARBAGE}

    def failing_at_one(exchange: Exchange) -> bool:
        return exchange.answer.flaw in flaws and exchange.answer.place is not None

    repeatable = find(lambda e: failing_at_one(e) and e.asked.repeatable, Flavour.FAULTY)
    once = find(lambda e: failing_at_one(e) and e.asked.method == "POST", Flavour.FAULTY)
    assert permitted(repeatable, NOTHING) == {"whole"}
    assert permitted(once, NOTHING) == {"whole", "502"}
    nowhere = find(
        lambda e: e.answer.flaw is Flaw.SILENT and e.answer.place is None, Flavour.FAULTY
    )
    assert "504" not in permitted(nowhere, NOTHING)
    assert "504" in permitted(nowhere, frozenset({Circumstance.SERVER_STOPPED}))
    assert "504" not in permitted(repeatable, frozenset({Circumstance.SERVER_STOPPED}))
    assert "502" not in permitted(PLAIN, frozenset({Circumstance.SERVER_KILLED}))
    assert "502" in permitted(POST, frozenset({Circumstance.SERVER_KILLED}))


def test_an_answer_to_be_cut_must_not_come_whole() -> None:
    exchange = find(lambda e: e.answer.flaw is Flaw.CUT and is_plain(e), Flavour.FAULTY)
    with pytest.raises(WrongError, match="whole, where only"):
        judge(exchange, seen(exchange, honest(exchange)), NOTHING)


def test_executions() -> None:
    word = digest(POST.asked, whole=True, key=POST.key)
    log = [f"begin {POST.key}", f"whole {POST.key} {word}"]
    assert check_executions(log, {POST.key: "whole"}, NOTHING) == []
    planted = {
        "executed 2 times": (log * 2, {POST.key: "502"}),
        "behind whole: the last": (log, {POST.key: behind("whole")}),
        "behind cut: the last": (log, {POST.key: behind("cut")}),
        "never sent": (log, {}),
        "no server has given": ([], {POST.key: "whole"}),
        "read another request": ([log[0], f"whole {POST.key} x"], {POST.key: "502"}),
        "what is no request": (["fault x"], {}),
    }
    for words, (lines, outcomes) in planted.items():
        (found,) = check_executions(lines, outcomes, NOTHING)
        assert words in found
    killed = frozenset({Circumstance.WORKER_KILLED})
    assert check_executions(log, {POST.key: behind("cut")}, killed) == []
    assert check_executions(log, {POST.key: behind("whole")}, ALL) != []
    twice = [f"begin {PLAIN.key}"] * 2
    assert check_executions(twice, {PLAIN.key: "whole"}, NOTHING) != []
    assert check_executions(twice, {PLAIN.key: "whole"}, ALL) == []


def test_what_only_harm_explains_is_counted() -> None:
    outcomes = {PLAIN.key: "whole", POST.key: "502", OTHER.key: "left"}
    outcomes[CHUNKED.key] = behind("cut")
    assert unplanned(outcomes) == {"502": 1}


def report(**changes: object) -> dict[str, object]:
    servers = [{"active": 0, "state": "alive", "name": "a"}]
    return {
        "client_connections": 0,
        "servers": servers,
        "workers": [{"state": "serving"}],
        **changes,
    }


def test_what_is_left_is_seen() -> None:
    assert quiet.left_in_report(report(), 1) == []
    busy = [{"active": 1, "state": "dead", "name": "a"}]
    assert len(quiet.left_in_report(report(client_connections=2, servers=busy), 1)) == 3
    draining = [{"state": "draining"}, {"state": "serving"}]
    assert len(quiet.left_in_report(report(workers=draining), 1)) == 1
    base = Counter({"socket": 3, "/dev/null": 1})
    assert quiet.left_in_process(1, base + Counter({"pipe": quiet.PIPES}), base, 1) == []
    assert len(quiet.left_in_process(1, base + Counter({"pipe": 99, "socket": 1}), base, 1)) == 2
    assert len(quiet.left_in_process(1, base, base, quiet.MEMORY + 1)) == 1


def test_lines_that_no_run_should_bring_about_are_seen() -> None:
    stamp = "2026-12-01 02:00:10,443"
    ordinary = [f"{stamp} INFO reloaded: 3 servers, round_robin"]
    ordinary.append(f"{stamp} ERROR worker 1 was killed by SIGKILL: starting a new one")
    assert quiet.unexpected(ordinary, failing=False) == []
    dead = f"{stamp} WARNING server http://127.0.0.1:1: alive -> dead: connect: refused"
    assert quiet.unexpected([dead], failing=True) == []
    odd = [dead, "  File x.py, line 3", f"{stamp} ERROR serving 127.0.0.1 failed"]
    assert quiet.unexpected(odd, failing=False) == odd


def test_a_client_that_has_ended_its_direction_is_served() -> None:
    """It may be asked whether it is there, once; and is not, only if nothing comes for long."""
    answer = seen(PLAIN, b"HTTP/1.1 100 Continue\r\n\r\n" + honest(PLAIN))
    assert judge(PLAIN, replace(answer, half_closed=True), NOTHING) == "whole"
    twice = replace(answer, interim=answer.interim * 2, half_closed=True)
    with pytest.raises(WrongError, match="interim responses"):
        judge(PLAIN, twice, NOTHING)
    nothing = Seen(None, end=End.FIN, half_closed=True)
    with pytest.raises(WrongError, match="none, where only"):
        judge(PLAIN, nothing, NOTHING)
    assert judge(PLAIN, nothing, frozenset({Circumstance.SERVER_STOPPED})) == "none"
