from typing import final

@final
class Buffers:
    @property
    def borrowed(self) -> int: ...
