"""The minimum rate at which a peer has to move bytes: arithmetic alone, without a clock.

A peer has a credit, in seconds. Waiting for it uses up the credit, each byte that it moves earns
some back, up to the initial credit. So a pause is allowed and a trickle of bytes is not; time in
which nothing waited for this peer does not count.
"""

from __future__ import annotations

import math


class MinimumRate:
    """How much longer one peer may be waited for.

    Args:
        patience: its credit at the start, and at most; seconds.
        rate: bytes that earn one second back; None: any byte earns back all of it.

    Attributes:
        left: seconds that it may be waited for, unless it moves bytes meanwhile; not above 0 when
            it was too slow.
    """

    __slots__ = ("_patience", "_worth", "left")

    def __init__(self, patience: float, rate: int | None = None) -> None:
        self._patience = self.left = patience
        self._worth = math.inf if rate is None else 1 / rate

    def moved(self, count: int, waited: float) -> None:
        """Account for so many bytes, none included, that came or went after `waited` seconds."""
        earned = count * self._worth if count > 0 else 0.0
        self.left = min(self.left - waited + earned, self._patience)

    def restart(self) -> None:
        """Give back the credit of the start: something else begins."""
        self.left = self._patience
