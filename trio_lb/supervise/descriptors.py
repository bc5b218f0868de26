"""Passing descriptors to a worker, over its control socket, before the first message.

So the worker has them before it runs its event loop. Messages refer to them by position.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Linux passes at most 253 at a time.
_AT_A_TIME: Final = 250

#: Bytes of the count, which is sent with the first ones.
_NUMBER: Final = 4


def send_descriptors(sock: socket.socket, descriptors: Sequence[int]) -> None:
    """Pass at least one descriptor; they may be closed here afterwards.

    Nothing may have been sent before, so that there is room and this does not block.

    Raises:
        OSError: the worker is gone, or the system refuses to pass so many.
    """
    data = len(descriptors).to_bytes(_NUMBER)
    for start in range(0, len(descriptors), _AT_A_TIME):
        socket.send_fds(sock, [data], descriptors[start : start + _AT_A_TIME])
        data = b"\0"


def receive_descriptors(sock: socket.socket) -> list[int]:
    """Wait for the descriptors that are passed to this process.

    Raises:
        EOFError: the supervisor is gone.
        OSError: there are more than this process may have open.
    """
    data, descriptors, flags, _ = socket.recv_fds(sock, _NUMBER, _AT_A_TIME)
    expected = int.from_bytes(data)
    while data and len(descriptors) < expected and not flags & socket.MSG_CTRUNC:
        data, more, flags, _ = socket.recv_fds(sock, 1, _AT_A_TIME)
        descriptors += more
    if not data:
        raise EOFError
    if len(descriptors) != expected:
        for each in descriptors:
            os.close(each)
        raise OSError(f"{expected} descriptors were passed, and {len(descriptors)} arrived")
    return descriptors
