"""Descriptors that a worker is handed: all of them in their order, or it is told."""

from __future__ import annotations

import os
import resource
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.forks import in_children
from trio_lb.supervise.descriptors import receive_descriptors, send_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("count", [1, 250, 251, 700])
def test_all_come_in_their_order_before_anything_else(
    count: int, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    files = [os.memfd_create(str(number)) for number in range(3)]
    sent = [files[number % 3] for number in range(count)]
    ours.setblocking(False)
    send_descriptors(ours, sent)
    ours.sendall(b"the first message")
    received = receive_descriptors(theirs)
    try:
        assert theirs.recv(100) == b"the first message"
        inodes = [os.fstat(each).st_ino for each in sent]
        assert [os.fstat(each).st_ino for each in received] == inodes
    finally:
        for each in (*files, *received):
            os.close(each)


def test_a_supervisor_that_is_gone_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.close()
    with pytest.raises(EOFError):
        receive_descriptors(theirs)


def test_more_than_a_process_may_have(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    sender = threading.Thread(target=send_descriptors, args=(ours, [0] * 200))
    sender.start()

    def receive(_: int) -> bool:
        limit = len(os.listdir("/proc/self/fd")) + 20
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        try:
            receive_descriptors(theirs)
        except OSError as exc:
            return "200 descriptors were passed" in str(exc)
        return False

    in_children(1, receive)
    sender.join()
