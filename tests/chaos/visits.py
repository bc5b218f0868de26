"""What clients do on one connection, derived from a seed. No I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.messages import request_parts
from tests.chaos.plan import exchange_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.plan import Flavour

#: Seconds: a client that ends its direction asks for nothing that takes longer altogether.
PATIENCE = 0.3


@dataclass(frozen=True)
class Visit:
    """One connection, and what is asked on it.

    Attributes:
        keys: of the requests, in their order.
        depth: how many may be sent before the answer of the first of them is there.
        burst: those are sent at one time, as far as they can be.
        piece: bytes that are sent at a time; 0: all.
        leaves_sent, leaves_got: the client goes when it has sent, or got, so many bytes.
        resets: it goes by a RST.
        half_closes: it ends its direction behind the last request.
        tiny_buffers: of its socket.
        slow: it reads a little at a time.
        idle: seconds that it stays behind the last answer.
    """

    keys: tuple[str, ...]
    depth: int = 1
    burst: bool = False
    piece: int = 0
    leaves_sent: int | None = None
    leaves_got: int | None = None
    resets: bool = False
    half_closes: bool = False
    tiny_buffers: bool = False
    slow: bool = False
    idle: float = 0.0


def visits(seed: str, flavour: Flavour, first: int, step: int) -> Iterator[Visit]:
    """The visits of one visitor, without an end.

    Args:
        seed: of the run.
        flavour: of the servers.
        first, step: the numbers of its requests.
    """
    rng = random.Random(f"{seed} {flavour} {first}")
    number = first
    while True:
        keys: list[str] = []
        for _ in range(rng.choice([1, 2, 3, 6, 12])):
            keys.append(f"{seed}.{flavour}.{number}")
            number += step
            asked = exchange_of(keys[-1]).asked
            if asked.close or asked.upgrade or asked.version == "1.0":
                break
        yield _visit(rng, tuple(keys))


def _visit(rng: random.Random, keys: tuple[str, ...]) -> Visit:
    leaves = rng.random()
    exchanges = [exchange_of(key) for key in keys]
    total = sum(sum(map(len, request_parts(exchange))) for exchange in exchanges)
    patient = sum(exchange.answer.delay for exchange in exchanges) < PATIENCE
    small = total + sum(len(exchange.body) for exchange in exchanges) < 60_000
    return Visit(
        keys,
        depth=rng.choice([1, 1, 2, 4, 12]),
        burst=rng.random() < 0.5,
        piece=rng.choice([0, 0, 0, 3000, 50]) if small else 0,
        leaves_sent=rng.randrange(total) if leaves < 0.05 else None,
        leaves_got=int(rng.expovariate(1 / 5000)) if 0.05 < leaves < 0.1 else None,
        resets=rng.random() < 0.5,
        half_closes=rng.random() < 0.05 and patient and not exchanges[-1].asked.upgrade,
        tiny_buffers=small and rng.random() < 0.08,
        slow=small and rng.random() < 0.05,
        idle=rng.choice([0.0, 0.0, 0.0, 0.02, 0.4]),
    )
