"""What a run over many cases found, and what holds for every run."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import trio

from tests.support.leaks import held, held_at_first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from tests.gateway.cases import Value
    from trio_lb import LoadBalancer

#: Seconds that a case may take before it counts as stuck; only what fails needs so long.
PATIENCE = 60.0

#: Seconds within which what clients and servers have left is let go.
_SETTLED_WITHIN = 30.0


class Way(Enum):
    """How the bytes of a case go out."""

    WHOLE = "whole"
    BYTEWISE = "bytewise"
    BEHIND = "behind-a-good-one"
    AHEAD = "ahead-of-a-good-one"


class OpenGateway(Protocol):
    """Opens a load balancer over one server; which path its requests take is decided there."""

    def __call__(self, url: str) -> AbstractAsyncContextManager[LoadBalancer]: ...


class UnexpectedError(Exception):
    """Something is not as the case says."""


@dataclass
class Verdicts:
    """What is wrong, in words.

    Attributes:
        cases: by the name of the case; every case that was played is there.
        run: what concerns no case alone.
    """

    cases: dict[str, list[str]] = field(default_factory=dict)
    run: list[str] = field(default_factory=list)

    def told(self) -> str:
        """All of it, a line for each, with the name of its case."""
        of_cases = [f"{name}: {each}" for name, wrong in self.cases.items() for each in wrong]
        return "\n".join([*of_cases, *self.run])

    @contextmanager
    def log_watched(self) -> Iterator[None]:
        """Whatever the product logs as an error is wrong: a bug of its own was caught there."""
        handler = _ErrorsInto(self.run)
        logger = logging.getLogger("trio_lb")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    @asynccontextmanager
    async def nothing_left(self, *balancers: LoadBalancer) -> AsyncIterator[None]:
        """After the block, no task, descriptor, connection or slot is left of it.

        The servers' connections must be closed in the block, so that pools let go of theirs.
        """
        before = held_at_first()
        yield
        with trio.move_on_after(_SETTLED_WITHIN):
            while held() != before:  # noqa: ASYNC110
                await trio.sleep(0.02)
        if (after := held()) != before:
            self.run.append(f"left behind: {after}, and before there was {before}")
        for balancer in balancers:
            statistics = balancer.statistics()
            if statistics.client_connections or statistics.total_active:
                self.run.append(f"still counted: {statistics}")


class _ErrorsInto(logging.Handler):
    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.append(self.format(record))


def wrong_fields(found: Mapping[str, str | None], expected: Mapping[str, Value]) -> Iterator[str]:
    """Says which of the expected fields are not as they should be."""
    for name, value in expected.items():
        have = found[name]
        fits = have == value if isinstance(value, str | None) else bool(value.fullmatch(have or ""))
        if not fits:
            yield f"{name} is {have!r} and should be {value!r}"
