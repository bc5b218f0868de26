"""A chaos run asks for everything that its plan speaks of, and always for the same by one seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from tests.chaos.messages import request_parts
from tests.chaos.plan import SERVERS, Flavour, Flaw, Framing, Start, exchange_of
from tests.chaos.visits import visits
from tests.support.strict_http import read_request

SPECIAL = ("absolute", "hop", "close", "expect", "upgrade", "extensions", "trailers")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
STATUSES = (101, 200, 204, 206, 304, 413, 500, 503)

_LOOSE = {Flaw.CLOSES, Flaw.EXTRA, Flaw.LATER}
FLAWS: dict[Flavour, set[Flaw]] = {
    Flavour.CALM: set(),
    Flavour.LOOSE: _LOOSE,
    Flavour.FAULTY: set(Flaw) - _LOOSE - {Flaw.NONE},
}


@pytest.mark.parametrize("flavour", list(Flavour))
def test_everything_is_asked_for(flavour: Flavour) -> None:
    found: Counter[object] = Counter()
    flaws: Counter[Flaw] = Counter()
    for number in range(4000):
        exchange = exchange_of(f"2.{flavour}.{number}")
        asked, answer = exchange.asked, exchange.answer
        found.update([asked.method, f"HTTP/{asked.version}", asked.framing, answer.framing])
        found.update([answer.status, answer.start, f"{answer.hints} hints"])
        found.update(name for name in SPECIAL if getattr(asked, name))
        found.update(["tiny buffers"] if answer.tiny_buffers else [])
        flaws[answer.flaw] += 1
        assert answer.place is None or answer.place < SERVERS
    every: list[object] = ["HTTP/1.0", "HTTP/1.1", "tiny buffers", "1 hints", "3 hints"]
    every += [*SPECIAL, *METHODS, *STATUSES, *Framing, *Start]
    assert [each for each in every if not found[each]] == []
    assert flaws.keys() - {Flaw.NONE} == FLAWS[flavour]


def test_clients_do_everything() -> None:
    some = list(islice(visits("2", Flavour.CALM, 0, 1), 1000))
    for name in ("burst", "piece", "leaves_got", "resets", "half_closes", "tiny_buffers", "slow"):
        assert 10 < sum(bool(getattr(visit, name)) for visit in some) < 900
    assert any(visit.leaves_sent for visit in some)
    assert any(len(visit.keys) > visit.depth > 1 for visit in some)


def test_the_same_seed_is_the_same_run() -> None:
    def begin(seed: str, first: int) -> list[object]:
        return list(islice(visits(seed, Flavour.LOOSE, first, 2), 20))

    assert begin("3", 0) == begin("3", 0)
    assert begin("3", 0) != begin("3", 1)
    assert begin("3", 0) != begin("4", 0)
    key = "3.loose.17"
    again = exchange_of.__wrapped__(key)
    assert (again, again.body) == (exchange_of(key), exchange_of(key).body)


def test_requests_are_right() -> None:
    """What a strict reader would refuse, a balancer may, too."""
    for number in range(500):
        exchange = exchange_of(f"5.calm.{number}")
        head, body = request_parts(exchange)
        asked = exchange.asked
        if asked.version == "1.1" and not asked.extensions:
            request = read_request(head + body)
            assert request is not None
            assert request.raw == head + body
            assert (request.body, request.trailers) == (
                b"" if asked.upgrade else exchange.upload,
                asked.trailers,
            )


def test_what_is_no_key_is_none() -> None:
    for text in ("", "1.calm", "1.angry.1", "1.calm.x"):
        with pytest.raises(ValueError, match=r".+"):
            exchange_of(text)
