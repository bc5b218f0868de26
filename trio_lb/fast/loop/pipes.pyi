from typing import Final, final

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

@final
class Pipes: ...
