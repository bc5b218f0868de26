"""Names to addresses: who waits for a look-up, and what is kept of the last one."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
import trio

from trio_lb.errors import NameUnresolved
from trio_lb.net.resolver import Resolver, Target

if TYPE_CHECKING:
    from trio.testing import MockClock

ONE, TWO = Target(socket.AF_INET, "192.0.2.1"), Target(socket.AF_INET, "192.0.2.2")
SIX = Target(socket.AF_INET6, "2001:db8::1", (0, 0))
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NOBODYS = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Names:
    """Answers look-ups as it is told to: with addresses or an error, after some seconds."""

    def __init__(self) -> None:
        self.answer: list[Target] | Exception = [ONE]
        self.seconds = 0.0
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[Target]:
        self.asked.append(host)
        answer = self.answer
        await trio.sleep(self.seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def resolver(names: Names) -> Resolver:
    made = Resolver()
    made.look_up = names
    return made


async def test_all_who_ask_meanwhile_share_one_look_up(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.seconds = 1.5
    found: list[tuple[Target, ...]] = []

    async def ask(after: float) -> None:
        await trio.sleep(after)
        found.append(await resolver.resolve("app", "app"))

    async with trio.open_nursery() as nursery:
        for after in (0.0, 0.0, 0.5, 1.4):
            nursery.start_soon(ask, after)
    assert found == [(ONE,)] * 4
    assert names.asked == ["app"]
    assert trio.current_time() == pytest.approx(1.5)


async def test_who_began_a_look_up_may_leave(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.seconds = 1.0
    async with trio.open_nursery() as nursery:

        async def ask_and_leave() -> None:
            with trio.move_on_after(0.1):
                await resolver.resolve("app", "app")

        nursery.start_soon(ask_and_leave)
        await trio.sleep(0.05)
        assert await resolver.resolve("app", "app") == (ONE,)
    assert names.asked == ["app"]


@pytest.mark.parametrize("failure", [AGAIN, NOBODYS, UnicodeError("label too long"), []])
async def test_the_last_good_answer_is_kept(
    resolver: Resolver,
    names: Names,
    failure: list[Target] | Exception,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "trio_lb.net")
    assert await resolver.resolve("app", "http://app:80") == (ONE,)
    names.answer = failure
    for _ in range(10):
        assert await resolver.resolve("app", "http://app:80") == (ONE,)
        await trio.sleep(0.5)
    assert len(names.asked) == 1 + 5, "looked up again every second"
    names.answer = [TWO]
    await trio.sleep(1)
    assert await resolver.resolve("app", "http://app:80") == (TWO,)
    first, second = caplog.messages
    assert first.startswith("the name of http://app:80 does not resolve: ")
    assert first.endswith("; its last addresses are used")
    assert second == "the name of http://app:80 resolves again"


async def test_with_an_answer_from_before_a_slow_look_up_is_hardly_waited_for(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    await resolver.resolve("app", "app")
    names.seconds, names.answer = 60.0, [TWO]
    began = trio.current_time()
    for _ in range(5):
        assert await resolver.resolve("app", "app") == (ONE,)
    assert trio.current_time() - began == pytest.approx(0.25)
    await trio.sleep(61)
    assert resolver.current("app") == frozenset({TWO.host})
    assert len(names.asked) == 2


async def test_a_look_up_that_hangs_is_waited_for_no_more(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.seconds = 60.0
    with trio.move_on_after(3) as scope:
        await resolver.resolve("app", "app")
    assert scope.cancelled_caught
    for _ in range(5):
        with pytest.raises(NameUnresolved, match="takes too long") as caught:
            await resolver.resolve("app", "app")
        assert (caught.value.local, caught.value.missing) == (True, False)
    assert trio.current_time() == pytest.approx(3)


@pytest.mark.parametrize(
    ("failure", "missing"), [(AGAIN, False), (NOBODYS, True), (OSError(24, "Too many"), False)]
)
async def test_what_was_never_found_is_said(
    resolver: Resolver, names: Names, failure: Exception, missing: bool, autojump_clock: MockClock
) -> None:
    names.answer = failure
    with pytest.raises(NameUnresolved) as caught:
        await resolver.resolve("app", "app")
    assert (caught.value.local, caught.value.missing) == (True, missing)
    assert resolver.current("app") is None


async def test_families_are_tried_in_turns(resolver: Resolver, names: Names) -> None:
    names.answer = [ONE, TWO, SIX]
    assert await resolver.resolve("app", "app") == (ONE, SIX, TWO)


async def test_a_name_that_hangs_holds_no_other_one_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a hundred of them, in real threads."""
    release = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        if host != "well":
            release.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver()
    try:
        for number in range(100):
            resolver.refresh(f"hung{number}", "hung")
        await trio.testing.wait_all_tasks_blocked()
        assert await resolver.resolve("well", "well") == (ONE,)
        assert await trio.to_thread.run_sync(lambda: "files are read") == "files are read"
    finally:
        release.set()
