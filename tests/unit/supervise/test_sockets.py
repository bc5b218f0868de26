"""The supervisor's listening sockets: which there are, who accepts from which, when they close."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.net import free_port
from trio_lb.config import parse_listen_address
from trio_lb.errors import ListenError
from trio_lb.net.deadlines import Deadlines
from trio_lb.plan import ListenerPlan
from trio_lb.supervise.sockets import ListeningSockets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio_lb.plan import Address

ANY = parse_listen_address("http://127.0.0.1:0")


@contextmanager
def listening() -> Iterator[ListeningSockets]:
    sockets = ListeningSockets()
    try:
        yield sockets
    finally:
        sockets.close()


def at(*addresses: Address) -> tuple[ListenerPlan, ...]:
    """What a profile says that listens there."""
    return tuple(ListenerPlan(address=address) for address in addresses)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_each_worker_has_a_socket_of_its_own() -> None:
    with listening() as sockets:
        await sockets.open(at(ANY), 3)
        mine = [sockets.of_worker((ANY,), worker, 3) for worker in range(3)]
        assert [len(each) for each in mine] == [1, 1, 1]
        assert len({each[0].fileno() for each in mine}) == 3
        assert len({str(each[0].address) for each in mine}) == 1
        assert sockets.addresses == (str(mine[0][0].address),)


async def test_every_interface_is_one_address() -> None:
    with listening() as sockets:
        everywhere = parse_listen_address("http://*:0")
        await sockets.open(at(everywhere, ANY), 2)
        assert len(sockets.addresses) == 2
        assert sum(address.startswith("http://*:") for address in sockets.addresses) == 1


@pytest.mark.parametrize("counts", [(4, 2), (4, 3, 1), (1, 4, 2, 3)])
async def test_no_socket_is_without_a_worker(counts: tuple[int, ...]) -> None:
    with listening() as sockets:
        for workers in counts:
            await sockets.open(at(ANY), workers)
            sockets.commit((ANY,))
            lists = [sockets.of_worker((ANY,), worker, workers) for worker in range(workers)]
            fds = [listener.fileno() for each in lists for listener in each]
            assert len(fds) == len(set(fds)) == max(counts[: counts.index(workers) + 1])
            assert all(lists)


async def test_which_begin_with_a_proxy_header() -> None:
    one = parse_listen_address(f"http://127.0.0.1:{free_port()}")
    two = parse_listen_address(f"http://127.0.0.1:{free_port()}")
    plain, proxied = ListenerPlan(address=one), ListenerPlan(address=two, proxy_protocol=True)
    with listening() as sockets:
        await sockets.open(at(one, two), 2)
        theirs = {
            listener for worker in range(2) for listener in sockets.of_worker((two,), worker, 2)
        }
        assert len(theirs) == 2
        assert sockets.with_proxy_header((plain, proxied)) == theirs
        # Another profile on the same sockets.
        assert not sockets.with_proxy_header((plain, ListenerPlan(address=two)))


async def test_a_passed_socket_begins_with_a_proxy_header_if_its_very_address_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = parse_listen_address(f"http://127.0.0.1:{sock.getsockname()[1]}")
        sockets = ListeningSockets([(sock, address)])
        [listener] = sockets.of_worker((ANY,), 0, 1)
        for said, expected in ((address, {listener}), (ANY, set())):
            assert (
                sockets.with_proxy_header([ListenerPlan(address=said, proxy_protocol=True)])
                == expected
            )
        sockets.close()


async def test_a_unix_socket_is_one_for_all(tmp_path: Path) -> None:
    address = parse_listen_address(f"unix:{tmp_path}/x.sock")
    with listening() as sockets:
        await sockets.open(at(address), 3)
        fds = {sockets.of_worker((address,), worker, 3)[0].fileno() for worker in range(3)}
        assert len(fds) == 1
        assert os.listdir(tmp_path) == ["x.sock"]
    assert os.listdir(tmp_path) == []


async def test_a_unix_socket_that_stays_changes_hands_when_all_is_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = parse_listen_address(f"unix:{tmp_path}/x.sock")

    def mode() -> int:
        return stat.S_IMODE(os.stat(tmp_path / "x.sock").st_mode)

    with listening() as sockets:
        await sockets.open(at(address), 1)
        sockets.commit((address,))
        wide = (ListenerPlan(address=address, mode=0o666),)
        await sockets.open(wide, 1)
        sockets.undo()
        assert mode() == 0o660
        await sockets.open(wide, 1)
        assert mode() == 0o660
        sockets.commit((address,))
        assert mode() == 0o666

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "chown", refuse)  # root's rights are gone
        await sockets.open(wide, 1)
        sockets.commit((address,))
        assert not caplog.messages
        await sockets.open((ListenerPlan(address=address, owner="54321"),), 1)
        sockets.commit((address,))
        assert "owner and mode are unchanged: its owner or group can't be set" in caplog.text


async def test_all_or_nothing_is_opened() -> None:
    free = parse_listen_address(f"http://127.0.0.1:{free_port()}")
    with listening() as sockets, socket.create_server(("127.0.0.1", 0)) as taken:
        await sockets.open(at(ANY), 1)
        sockets.commit((ANY,))
        in_use = parse_listen_address(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ListenError, match="in use"):
            await sockets.open(at(ANY, free, in_use), 3)
        assert free.port is not None
        assert not is_open(free.port)
        assert len(sockets.addresses) == 1
        assert len(sockets.of_worker((ANY,), 0, 1)) == 1  # not two without a worker


async def test_what_was_opened_can_be_undone_or_kept() -> None:
    one, two = (parse_listen_address(f"http://127.0.0.1:{free_port()}") for _ in range(2))
    with listening() as sockets:
        await sockets.open(at(one), 2)
        sockets.commit((one,))
        before = sockets.of_worker((one,), 0, 1)
        await sockets.open(at(one, two), 4)
        assert len(sockets.of_worker((one, two), 0, 1)) == 8
        assert not is_open(two.port)  # until it is sure that somebody will accept from it
        sockets.undo()
        assert sockets.of_worker((one,), 0, 1) == before
        assert (is_open(one.port), is_open(two.port)) == (True, False)
        await sockets.open(at(two), 1)
        sockets.commit((two,))
        assert (is_open(one.port), is_open(two.port)) == (False, True)
    assert not is_open(two.port)


async def test_nobody_waits_where_nobody_may_come_to_accept() -> None:
    """The system gives clients to the sockets that listen, and to no other one."""
    one = parse_listen_address(f"http://127.0.0.1:{free_port()}")
    with listening() as sockets, ExitStack() as clients:
        await sockets.open(at(one), 1)
        sockets.commit((one,))
        await sockets.open(at(one), 4)
        (first,) = sockets.of_worker((one,), 0, 4)
        for _ in range(40):
            clients.enter_context(socket.create_connection(("127.0.0.1", one.port), timeout=5))
        accepted = [first.accept_nowait(Deadlines()) for _ in range(40)]
        assert None not in accepted
        sockets.undo()
        for each in accepted:
            assert each is not None
            each.close()


async def test_a_port_that_was_taken_before_the_commit_is_an_error() -> None:
    one = parse_listen_address(f"http://127.0.0.1:{free_port()}")
    with listening() as sockets, socket.socket() as other:
        await sockets.open(at(one), 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", one.port))
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        other.listen()
        with pytest.raises(ListenError, match="Address already in use"):
            sockets.commit((one,))
        sockets.undo()
        assert sockets.addresses == ()


async def test_workers_share_where_no_further_socket_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A port below 1024, say, and root's rights were dropped."""
    with listening() as sockets:
        await sockets.open(at(ANY), 2)
        with monkeypatch.context() as patch:

            def denied(*_: object) -> None:
                raise PermissionError(13, "Permission denied")

            patch.setattr(socket.socket, "bind", denied)
            await sockets.open(at(ANY), 5)
        fds = [sockets.of_worker((ANY,), worker, 5)[0].fileno() for worker in range(5)]
        assert fds == [fds[0], fds[1], fds[0], fds[1], fds[0]]
        assert "Permission denied: workers share one listening socket" in caplog.text


async def test_passed_sockets_take_the_place_of_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        address = parse_listen_address(f"http://127.0.0.1:{passed.getsockname()[1]}")
        sockets = ListeningSockets([(passed, address)])
        await sockets.open(at(ANY), 2)
        sockets.commit((ANY,))
        for worker in range(2):
            (listener,) = sockets.of_worker((ANY,), worker, 2)
            assert listener.fileno() == passed.fileno()
        assert sockets.addresses == (str(address),)
        sockets.close()
        assert passed.fileno() == -1
