"""Name servers of a test: what is found when a name is looked up."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, TypeAlias

import trio

from trio_lb.net.resolver import Target

if TYPE_CHECKING:
    import pytest

    #: The addresses of a name, in their order; an error; None: nothing at all, ever.
    Answer: TypeAlias = list[str] | Exception | None


def again() -> socket.gaierror:
    """Name servers fail for now."""
    return socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def nobodys() -> socket.gaierror:
    """There is no such name."""
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Names:
    """Takes the place of getaddrinfo(3), without threads.

    Attributes:
        answers: what there is for each name.
        seconds: how long a look-up takes.
        asked: the names that were looked up, and when.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, Answer] = {}
        self.seconds = 0.0
        self.asked: list[tuple[str, float]] = []
        monkeypatch.setattr("trio_lb.net.resolver.look_up", self._look_up)

    async def _look_up(self, host: str, _: trio.CapacityLimiter) -> list[Target]:
        self.asked.append((host, trio.current_time()))
        answer = self.answers[host]
        await trio.sleep(self.seconds)
        if answer is None:
            await trio.sleep_forever()
            raise AssertionError
        if isinstance(answer, Exception):
            raise answer
        return [target(address) for address in answer]


def target(address: str) -> Target:
    """One address, as the resolver has it."""
    if ":" in address:
        return Target(socket.AF_INET6, address, (0, 0))
    return Target(socket.AF_INET, address)
