"""Which codec the slow path has: chosen once, by the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import compiled_codec

if TYPE_CHECKING:
    from .codec import Codecs


def codecs_for(*, fast_path: bool) -> Codecs:
    """Those of a plan.

    Args:
        fast_path: compiled code is wanted; else h11 is.
    """
    if fast_path:
        return compiled_codec.CODECS
    from .h11_codec import CODECS  # 0.4 MiB that nobody else has a use for

    return CODECS
