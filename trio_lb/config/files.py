"""Reading the files that make up a profile, without blocking.

Opening a FIFO waits for a writer, and a device may never end, so a running load balancer reads
regular files only.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_file(path: Path, most: int, *, streams: bool = False) -> bytes:
    """Read a file, or its first `most` bytes.

    Args:
        path: the file.
        most: bytes.
        streams: a pipe or a terminal will do as well, to its end.

    Raises:
        OSError: it can't be read, is no regular file, or a pipe without a byte in it.
        ValueError: that is not a file name.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            if not streams:
                raise OSError(errno.EINVAL, "it is not a regular file")
            os.set_blocking(descriptor, True)
        data = file.read(most)
        if not data and stat.S_ISFIFO(mode):
            raise OSError(errno.EPIPE, "it is a pipe that nothing was written to")
        return data
