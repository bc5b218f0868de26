"""What is asked and answered, derived from a key: both sides know it without telling each other.

A key is `seed.flavour.number`. The client makes its request of it and sends it along; the server
makes its answer of the key that it is sent, right or, where the plan says so, wrong. No I/O here.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

#: Field that carries the key, in requests and in answers.
KEY = "x-chaos"
#: Field of an answer that tells what the server has read of the request.
DIGEST = "x-chaos-digest"
#: The protocol that tunnels speak: everything comes back.
ECHO = "chaos-echo"
HOST = "chaos.example"
SERVERS = 3

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

#: Bodies up to this size are kept for another try, whatever their framing (`replay_body`, 64 KiB).
REPLAYED = 32 << 10

#: Bodies larger than this come in large chunks: many small ones keep the test itself too busy.
SLOW_CHUNKS = 100_000
#: Bodies up to this size go through tiny buffers of a server.
SLOW_SOCKETS = 20_000

Fields = tuple[tuple[str, str], ...]


class Flavour(StrEnum):
    """What servers do, besides answering rightly."""

    CALM = "calm"  # nothing
    FAULTY = "faulty"  # some of their answers are wrong, cut or missing
    LOOSE = "loose"  # connections end, or get bytes that nobody asked for, between two requests


class Framing(StrEnum):
    """How the end of a body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Start(StrEnum):
    """When a server answers."""

    AFTER = "after"  # it has read the whole request
    EARLY = "early"  # it has read the head; and the whole answer at once, it takes no body
    SPLIT = "split"  # head and half of the body at the head, the rest behind the upload


class Flaw(StrEnum):
    """What is wrong with an answer."""

    NONE = "none"
    CUT = "cut"  # ends in the middle of the body
    CUT_HEAD = "cut head"
    SILENT = "silent"  # closes without a byte
    GARBAGE = "garbage"  # no HTTP
    HANG = "hang"  # nothing, until the peer leaves
    RESETS = "resets"  # an early answer that is not followed by reading on: a reset may destroy it
    CLOSES = "closes"  # a right answer; closes behind it without having said so
    EXTRA = "extra"  # a right answer, and with its last bytes some of another one
    LATER = "later"  # a right answer; a moment later bytes that are no answer, then closes


#: Flaws before the first byte of an answer: another server may be asked.
UNANSWERED = frozenset({Flaw.CUT_HEAD, Flaw.SILENT, Flaw.GARBAGE, Flaw.HANG})


@dataclass(frozen=True)
class Asked:
    """A request, as its client sends it."""

    method: str
    target: str  # as the server must get it
    version: str = "1.1"
    absolute: bool = False  # sent as http://HOST/target
    fields: Fields = ()  # that must pass
    hop: bool = False  # with a field that ends at this hop
    close: bool = False
    expect: bool = False
    upgrade: bool = False
    framing: Framing = Framing.NONE
    size: int = 0
    chunk: int = 1
    extensions: bool = False
    trailers: Fields = ()

    @property
    def repeatable(self) -> bool:
        """Whether another server may be asked when one has failed without an answer."""
        small = self.size <= REPLAYED
        return self.method in IDEMPOTENT and small and not (self.expect or self.upgrade)


@dataclass(frozen=True)
class Answer:
    """An answer, as its server means it.

    Attributes:
        place: the server that has the flaw; None: each.
        at: where in the body the flaw is, as a share.
        delay, pause: seconds, before it and between two of its pieces.
    """

    status: int
    fields: Fields = ()
    framing: Framing = Framing.LENGTH
    size: int = 0
    chunk: int = 1
    trailers: Fields = ()
    hints: int = 0  # 103 responses before it
    start: Start = Start.AFTER
    close: bool = False  # says so, and closes
    delay: float = 0.0
    pieces: int = 1
    pause: float = 0.0
    tiny_buffers: bool = False
    flaw: Flaw = Flaw.NONE
    place: int | None = None
    at: float = 0.0
    reset: bool = False

    def flaw_at(self, server: int) -> Flaw:
        """The flaw of this answer when that server gives it."""
        return self.flaw if self.place in (None, server) else Flaw.NONE


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    key: str
    asked: Asked
    answer: Answer

    @property
    def has_body(self) -> bool:
        """Whether the answer has one (RFC 9112 section 6.3)."""
        return self.asked.method != "HEAD" and self.answer.status not in (101, 204, 304)

    @property
    def body(self) -> bytes:
        """The content of the answer; of a tunnel, what comes back."""
        return content(self.key, "answer", self.answer.size) if self.has_body else b""

    @property
    def upload(self) -> bytes:
        """The content of the request; of a tunnel, what is sent through it."""
        return content(self.key, "upload", self.asked.size)


def content(key: str, side: str, size: int) -> bytes:
    """Bytes that belong to this key and side alone; a shorter one is the beginning of a longer."""
    return hashlib.shake_128(f"{key} {side}".encode()).digest(size)


@lru_cache(64)
def exchange_of(key: str) -> Exchange:
    """What belongs to a key.

    Raises:
        ValueError: it is none.
    """
    _, name, number = key.split(".")
    flavour, rng = Flavour(name), random.Random(key)
    asked = _asked(rng, int(number))
    answer = _answer(rng, asked)
    if flavour is Flavour.FAULTY:
        answer = _faulty(rng, asked, answer)
    elif flavour is Flavour.LOOSE:
        answer = _loose(rng, asked, answer)
    return Exchange(key, asked, answer)


def digest(request: Asked, *, whole: bool, key: str) -> str:
    """What a server must find that it has read, as one word; see `digest_of_parts`."""
    body = content(key, "upload", request.size) if whole and not request.upgrade else b""
    return digest_of_parts(
        request.method,
        request.target,
        HOST,
        request.fields,
        hashlib.sha1(body).hexdigest() if whole else "",
        request.trailers if whole else (),
    )


def digest_of_parts(
    method: str, target: str, host: str, fields: Fields, body: str, trailers: Fields
) -> str:
    """One word for all of a request that must pass; `body` is the SHA-1 of its content."""
    parts = repr((method, target, host, tuple(fields), body, tuple(trailers)))
    return hashlib.sha1(parts.encode()).hexdigest()[:20]


def passing(fields: Fields) -> Fields:
    """Those fields that are of the plan, in their order; names in lower case."""
    lowered = [(name.lower(), value) for name, value in fields]
    return tuple(field for field in lowered if field[0].startswith(("x-c-", "x-t-", "x-hop")))


def _asked(rng: random.Random, number: int) -> Asked:
    method = rng.choices(
        ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"], [46, 26, 9, 8, 4, 4, 3]
    )[0]
    version = "1.0" if rng.random() < 0.07 else "1.1"
    query = "".join(rng.choices("abc&=+%2F/?:@!$'()*,;~.-_", k=rng.randrange(30)))
    query = query.replace("%", "%25")
    asked = Asked(
        method,
        f"/c/{number}?{query}",
        version,
        absolute=version == "1.1" and rng.random() < 0.03,
        fields=_fields(rng, "X-C"),
        hop=rng.random() < 0.04,
        close=rng.random() < 0.03,
        upgrade=method == "GET" and version == "1.1" and rng.random() < 0.05,
    )
    if asked.upgrade:
        return replace(asked, size=_size(rng), close=False, hop=False)
    if method in ("POST", "PUT", "PATCH") or rng.random() < 0.03:
        chunked = version == "1.1" and rng.random() < 0.4
        asked = replace(
            asked,
            framing=Framing.CHUNKED if chunked else Framing.LENGTH,
            size=_size(rng),
            chunk=rng.choice([1 << 16, 5000, 700]),
            extensions=chunked and rng.random() < 0.1,
            trailers=_fields(rng, "X-T") if chunked and rng.random() < 0.25 else (),
            expect=version == "1.1" and rng.random() < 0.12,
        )
        if asked.size > SLOW_CHUNKS:
            asked = replace(asked, chunk=1 << 16)
        if asked.expect and not asked.size:
            asked = replace(asked, size=100)
    return asked


def _answer(rng: random.Random, asked: Asked) -> Answer:
    slow = rng.random()
    answer = Answer(
        status=rng.choices(
            [200, 201, 206, 404, 418, 500, 503, 302, 204, 304], [70, 6, 4, 5, 2, 2, 2, 2, 4, 3]
        )[0],
        fields=_fields(rng, "X-C"),
        framing=rng.choices([Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE], [56, 34, 10])[0],
        size=_size(rng),
        chunk=rng.choice([1 << 16, 5000, 700, 90]),
        hints=rng.randint(1, 3) if rng.random() < 0.06 else 0,
        close=rng.random() < 0.04,
        delay=0.0 if slow < 0.85 else rng.uniform(0, 0.7 if slow > 0.985 else 0.04),
        pieces=rng.choice([1, 1, 1, 2, 5]),
        pause=rng.choice([0.0, 0.0, 0.001, 0.01]),
    )
    if rng.random() < 0.08 and max(answer.size, asked.size) <= SLOW_SOCKETS:
        # Such a connection is of no use for large bodies, so it ends with this answer.
        answer = replace(answer, tiny_buffers=True, close=True)
    if asked.upgrade:
        return Answer(101, answer.fields, Framing.NONE, asked.size, delay=answer.delay)
    if answer.size > SLOW_CHUNKS:
        answer = replace(answer, chunk=1 << 16)
    if answer.status in (204, 304):
        return replace(answer, framing=Framing.NONE, size=0)
    if answer.framing is Framing.CHUNKED and asked.version == "1.1" and rng.random() < 0.25:
        answer = replace(answer, trailers=_fields(rng, "X-T"))
    if asked.framing is not Framing.NONE and rng.random() < 0.12:
        return _early(rng, asked, answer)
    return answer


def _early(rng: random.Random, asked: Asked, answer: Answer) -> Answer:
    if rng.random() < 0.5 or asked.expect or asked.version == "1.0" or asked.method == "HEAD":
        return replace(
            answer, status=413, start=Start.EARLY, framing=Framing.LENGTH, trailers=(), close=True,
            hints=0, size=min(answer.size, 3000),
        )  # fmt: skip
    return replace(answer, start=Start.SPLIT, framing=Framing.CHUNKED, trailers=())


def _faulty(rng: random.Random, asked: Asked, answer: Answer) -> Answer:
    draw = rng.random()
    at, place = rng.random(), None if rng.random() < 0.25 else rng.randrange(SERVERS)
    reset = rng.random() < 0.5
    if answer.start is Start.EARLY:
        flaw = Flaw.RESETS if draw < 0.3 else Flaw.NONE
    elif draw < 0.06:
        has_body = asked.method != "HEAD" and answer.framing is not Framing.NONE
        after = answer.start is Start.AFTER
        flaw = Flaw.CUT if answer.size and has_body and after else Flaw.NONE
        # The end of the connection is the end of such a body; only a reset is none.
        reset = reset or answer.framing is Framing.CLOSE
        place = None
    elif draw < 0.12 and answer.start is Start.AFTER:
        kinds = [Flaw.CUT_HEAD, Flaw.SILENT, Flaw.GARBAGE, Flaw.HANG]
        flaw = rng.choices(kinds, [10, 20, 10, 2])[0]
        answer = replace(answer, hints=0)
    else:
        flaw = Flaw.NONE
    if flaw is Flaw.NONE:
        return answer
    return replace(answer, flaw=flaw, place=place, at=at, reset=reset)


def _loose(rng: random.Random, asked: Asked, answer: Answer) -> Answer:
    draw = rng.random()
    if answer.start is not Start.AFTER or answer.framing is Framing.CLOSE or asked.upgrade:
        return answer
    answer = replace(answer, at=rng.random())
    if answer.tiny_buffers:
        return answer
    if draw < 0.06:
        return replace(answer, flaw=Flaw.CLOSES, close=False)
    if draw < 0.09:
        return replace(answer, flaw=Flaw.LATER, close=False)
    if draw < 0.12:
        # So small that all of it is one segment.
        return replace(answer, flaw=Flaw.EXTRA, close=False, size=min(answer.size, 5000), pieces=1)
    return answer


def _fields(rng: random.Random, prefix: str) -> Fields:
    fields = []
    for index in range(rng.choice([1, 1, 2, 3, 8])):
        value = "".join(rng.choices('abcXYZ019 \t;,="\\/é\xff', k=rng.randrange(40))).strip(" \t")
        fields.append((f"{prefix}-{index}", value))
    return tuple((name.lower(), value) for name, value in fields)


def _size(rng: random.Random) -> int:
    kind = rng.choices(["none", "few", "some", "many", "large"], [8, 40, 35, 14, 3])[0]
    ranges = {
        "none": (0, 0),
        "few": (1, 200),
        "some": (201, 9000),
        "many": (9001, 120_000),
        "large": (120_001, 1_500_000),
    }
    return rng.randint(*ranges[kind])
