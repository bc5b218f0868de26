"""Names to addresses: who waits for a look-up, and what is kept of the last one."""

from __future__ import annotations

import itertools
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.names import again, nobodys, target
from trio_lb.config.address import parse_server_address
from trio_lb.errors import NameUnresolved
from trio_lb.net.resolver import Resolver, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from tests.support.names import Answer, Names

APP = parse_server_address("http://app.test:80")
ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"


@pytest.fixture
async def resolver(nursery: trio.Nursery, names: Names) -> Resolver:
    made = Resolver()
    nursery.start_soon(made.run)
    names.answers["app.test"] = [ONE]
    return made


def addresses(targets: Sequence[Target]) -> list[str]:
    return [each.host for each in targets]


async def resolve(resolver: Resolver) -> list[str]:
    return addresses(await resolver.resolve(APP))


async def test_all_who_ask_meanwhile_share_one_look_up(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.seconds = 1.5
    found: list[list[str]] = []

    async def ask(after: float) -> None:
        await trio.sleep(after)
        found.append(await resolve(resolver))

    async with trio.open_nursery() as nursery:
        for after in (0.0, 0.0, 0.5, 1.4):
            nursery.start_soon(ask, after)
    assert found == [[ONE]] * 4
    assert len(names.asked) == 1
    assert trio.current_time() == pytest.approx(1.5)


async def test_who_began_a_look_up_may_leave(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.seconds = 1.0
    async with trio.open_nursery() as nursery:

        async def ask_and_leave() -> None:
            with trio.move_on_after(0.1):
                await resolve(resolver)

        nursery.start_soon(ask_and_leave)
        await trio.sleep(0.05)
        assert await resolve(resolver) == [ONE]
    assert len(names.asked) == 1


async def test_what_is_known_is_given_at_once_and_looked_up_again_every_30_s(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    resolver.use([APP, parse_server_address("http://192.0.2.7:80"), APP])
    for _ in range(600):
        await resolve(resolver)
        await trio.sleep(0.5)
    times = [when for _, when in names.asked]
    assert len(times) == 10
    assert all(30 <= later - earlier <= 31 for earlier, later in itertools.pairwise(times))
    names.answers["app.test"] = [TWO]
    await trio.sleep(31)
    began = trio.current_time()
    assert await resolve(resolver) == [TWO]
    assert trio.current_time() == began


async def test_what_nobody_uses_is_forgotten(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.answers["b.test"] = names.answers["c.test"] = [TWO]
    b, c = (parse_server_address(f"http://{name}.test") for name in "bc")
    resolver.use([APP, b])
    await resolver.resolve(c)  # for a moment, as the checks of a profile that is refused then
    assert len(resolver) == 3
    await trio.sleep(100)
    assert len(resolver) == 2
    resolver.use([b])
    assert len(resolver) == 1
    names.asked.clear()
    await trio.sleep(100)
    assert {name for name, _ in names.asked} == {"b.test"}
    resolver.use([])
    assert len(resolver) == 0


async def test_names_that_go_while_they_are_looked_up(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.seconds = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolve, resolver)
        await trio.sleep(0.5)
        resolver.use([])
        resolver.use([APP])
    assert await resolve(resolver) == [ONE]
    assert len(resolver) == 1


@pytest.mark.parametrize("failure", [again(), nobodys(), UnicodeError("label too long"), []])
async def test_the_last_good_answer_is_kept(
    resolver: Resolver,
    names: Names,
    failure: Answer,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "trio_lb.net")
    resolver.use([APP])
    assert await resolve(resolver) == [ONE]
    names.answers["app.test"] = failure
    names.asked.clear()
    for _ in range(200):
        assert await resolve(resolver) == [ONE]
        await trio.sleep(1)
    times = [when for _, when in names.asked]
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30, 30], abs=1.01)
    names.answers["app.test"] = [TWO]
    await trio.sleep(31)
    assert await resolve(resolver) == [TWO]
    first, second = caplog.messages
    assert first.startswith("the name of http://app.test:80 does not resolve: ")
    assert first.endswith("; its last addresses are used")
    assert second == "the name of http://app.test:80 resolves again"


async def test_after_an_address_has_failed_it_is_looked_up_once_in_a_second(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    resolver.use([APP])
    await resolve(resolver)
    names.answers["app.test"] = [TWO]
    for _ in range(10):
        await resolver.renewed(APP)
    assert len(names.asked) == 1
    await trio.sleep(1)
    for _ in range(10):
        assert addresses(await resolver.renewed(APP)) == [TWO]
    assert len(names.asked) == 2


async def test_with_an_answer_from_before_a_slow_look_up_is_hardly_waited_for(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    resolver.use([APP])
    await resolve(resolver)
    await trio.sleep(1)
    names.seconds, names.answers["app.test"] = 60.0, [TWO]
    began = trio.current_time()
    for _ in range(5):
        assert addresses(await resolver.renewed(APP)) == [ONE]
        assert await resolve(resolver) == [ONE]
    assert trio.current_time() - began == pytest.approx(0.25)
    await trio.sleep(61)
    assert resolver.current("app.test") == frozenset({TWO})
    assert len(names.asked) == 2


async def test_a_look_up_that_hangs_is_waited_for_no_more(
    resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = None
    with trio.move_on_after(3) as scope:
        await resolve(resolver)
    assert scope.cancelled_caught
    for _ in range(5):
        with pytest.raises(NameUnresolved, match="takes too long") as caught:
            await resolve(resolver)
        assert (caught.value.local, caught.value.missing) == (True, False)
    assert trio.current_time() == pytest.approx(3)
    assert len(names.asked) == 1


@pytest.mark.parametrize(
    ("failure", "missing"), [(again(), False), (nobodys(), True), (OSError(24, "Too many"), False)]
)
async def test_what_was_never_found_is_said(
    resolver: Resolver, names: Names, failure: Exception, missing: bool, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = failure
    for _ in range(5):
        with pytest.raises(NameUnresolved) as caught:
            await resolve(resolver)
        assert (caught.value.local, caught.value.missing) == (True, missing)
    assert resolver.current("app.test") is None
    assert resolver.first("app.test") is None
    assert len(names.asked) == 1, "who asks right after a failure is told of that"
    names.answers["app.test"] = [ONE]
    await trio.sleep(1)
    assert await resolve(resolver) == [ONE]


@pytest.mark.parametrize(
    ("found", "worked", "tried"),
    [
        ([ONE, TWO, SIX], None, [ONE, SIX, TWO]),
        ([SIX, "2001:db8::2", "2001:db8::3", ONE], None, [SIX, ONE, "2001:db8::2", "2001:db8::3"]),
        ([ONE, TWO, SIX], TWO, [TWO, SIX, ONE]),
        ([ONE, TWO, SIX], SIX, [SIX, ONE, TWO]),
        ([ONE, TWO], "192.0.2.9", [ONE, TWO]),
        ([ONE], ONE, [ONE]),
    ],
)
async def test_what_worked_last_comes_first_and_families_take_turns(
    resolver: Resolver,
    names: Names,
    found: list[str],
    worked: str | None,
    tried: list[str],
    autojump_clock: MockClock,
) -> None:
    names.answers["app.test"] = found
    resolver.use([APP])
    await resolve(resolver)
    if worked is not None:
        resolver.worked("app.test", worked)
    assert await resolve(resolver) == tried
    assert resolver.first("app.test") == target(tried[0])
    await trio.sleep(31)
    assert await resolve(resolver) == tried, "a new look-up changes nothing about that"


async def test_a_name_that_hangs_holds_no_other_one_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a hundred of them, in real threads."""
    release = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        if host != "well.test":
            release.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver()
    well = parse_server_address("http://well.test")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resolver.run)
            hung = [parse_server_address(f"http://hung{number}.test") for number in range(100)]
            resolver.use([*hung, well])
            assert addresses(await resolver.resolve(well)) == [ONE]
            assert await trio.to_thread.run_sync(lambda: "files are read") == "files are read"
            nursery.cancel_scope.cancel()
    finally:
        release.set()


async def test_threads_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names hang."""
    release = threading.Event()
    running = 0
    lock = threading.Lock()

    def look_up(*_: object, **__: object) -> list[object]:
        nonlocal running
        with lock:
            running += 1
        release.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver()
    hosts = [parse_server_address(f"http://hung{number}.test") for number in range(300)]
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resolver.run)
            resolver.use(hosts)
            with trio.fail_after(60):
                while running < 128:  # noqa: ASYNC110 -- threads tell nobody
                    await trio.sleep(0.01)
                await trio.testing.wait_all_tasks_blocked()
            assert running == 128
            release.set()
            for host in hosts:
                assert addresses(await resolver.resolve(host)) == [ONE]
            nursery.cancel_scope.cancel()
    finally:
        release.set()
