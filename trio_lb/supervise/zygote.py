"""The zygote: `python -m trio_lb.supervise.zygote FD`, where FD is its supervisor's socket.

It has imported everything a worker needs and is forked for each worker, so workers share memory and
start fast. It has one thread, runs no event loop, and holds nothing but its socket.

It sends 0 when it is ready. A request is one byte with the control socket of a worker; the answer
is the worker's pid, or a negative error number. Each worker is forked by a child that exits at
once, so that the supervisor, which adopts orphans, becomes its parent. The zygote exits when the
supervisor is gone.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from trio_lb.runtime.garbage import freeze_gc

from .worker import leave_signals_to_the_supervisor, work

ANSWER: Final = struct.Struct("=q")


def main() -> int:
    """Fork workers as long as there is a supervisor; in a worker, work."""
    leave_signals_to_the_supervisor()
    _set_name("trio-lb-zygote")
    freeze_gc()  # a collection writes to all objects, which would then not be shared
    with socket.socket(fileno=int(sys.argv[1])) as supervisor:
        control = _serve(supervisor)
    if control is None:
        return 0
    _set_name("trio-lb-worker")
    os.setsid()
    return work(control)


def _serve(supervisor: socket.socket) -> socket.socket | None:
    """Answer requests; returns in a worker, with its control socket, and at the end."""
    with suppress(BrokenPipeError):  # the supervisor is gone
        supervisor.send(ANSWER.pack(0))
        while True:
            data, descriptors, _, _ = socket.recv_fds(supervisor, 1, 1)
            if not data:
                break
            if not descriptors:  # no room for another one
                supervisor.send(ANSWER.pack(-errno.EMFILE))
                continue
            control = socket.socket(fileno=descriptors[0])
            answer = _fork_worker()
            if answer is None:
                return control
            control.close()
            supervisor.send(answer)
    return None


def _fork_worker() -> bytes | None:
    """Fork a child that forks a worker and exits; None in the worker, else the answer."""
    reader, writer = os.pipe()
    try:
        between = os.fork()
    except OSError as exc:
        os.close(reader)
        os.close(writer)
        return ANSWER.pack(-(exc.errno or errno.EAGAIN))
    if not between:
        os.close(reader)
        if not _fork_and_tell(writer):
            os.close(writer)
            return None
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, ANSWER.size)
    os.close(reader)
    os.waitpid(between, 0)  # from now on the worker is the supervisor's child
    return answer or ANSWER.pack(-errno.ECHILD)


def _fork_and_tell(writer: int) -> bool:
    """Fork, and write the child's pid; False in the child."""
    try:
        pid = os.fork()
    except OSError as exc:
        pid = -(exc.errno or errno.EAGAIN)
    if pid:
        os.write(writer, ANSWER.pack(pid))
    return bool(pid)


def _set_name(name: str) -> None:
    """Set the name of this process in `ps` and `top`."""
    with suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(name)


if __name__ == "__main__":
    sys.exit(main())
