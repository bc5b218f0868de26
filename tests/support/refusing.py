"""A system that refuses some system calls, as sandboxes do: a seccomp filter (Linux).

In this process and all that it starts, for good:

    refuse(errno.EPERM, "splice")

Before a program:

    python -m tests.support.refusing EPERM splice,memfd_create PROGRAM ARGUMENTS...
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

#: System call numbers, x86-64 and arm64.
NUMBERS: Final = {
    "splice": (275, 76),
    "memfd_create": (319, 279),
    "eventfd2": (290, 19),
    "accept4": (288, 242),
    "ppoll": (271, 73),
    "prctl": (157, 167),
    "pidfd_open": (434, 434),
    "setsockopt": (54, 208),
}

#: Calls of which one kind is meant: index and value of the argument that says so.
KINDS: Final = {
    "SO_REUSEPORT": ("setsockopt", 2, 15),
    "PR_SET_TIMERSLACK": ("prctl", 0, 29),
    "PR_SET_CHILD_SUBREAPER": ("prctl", 0, 36),
}

ARCHITECTURES: Final = ("x86_64", "aarch64")

_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(code: int, *names: str) -> None:
    """Have these system calls, or these kinds of one, fail with an error number from now on.

    Raises:
        OSError: there is no seccomp here.
    """
    architecture = ARCHITECTURES.index(platform.machine())
    steps: list[tuple[int, int, int, int]] = []
    for name in names:
        call, argument, value = KINDS.get(name, (name, -1, 0))
        number = NUMBERS[call][architecture]
        steps.append((_LOAD, 0, 0, 0))
        if argument < 0:
            steps.append((_JUMP_EQUAL, 0, 1, number))
        else:
            steps += [
                (_JUMP_EQUAL, 0, 3, number),
                (_LOAD, 0, 0, 16 + 8 * argument),
                (_JUMP_EQUAL, 0, 1, value),
            ]
        steps.append((_RETURN, 0, 0, _ERRNO | code))
    steps.append((_RETURN, 0, 0, _ALLOW))
    program = _Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    refuse(getattr(errno, sys.argv[1]), *sys.argv[2].split(","))
    os.execvp(sys.argv[3], sys.argv[3:])
