from typing import Final

HAS_EPOLL: Final[bool]

def unsent(fd: int) -> int: ...
