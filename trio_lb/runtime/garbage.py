"""Garbage collection for a process that serves requests."""

from __future__ import annotations

import gc


def freeze_gc() -> None:
    """Call once, when everything that lasts has been made.

    What is there by now stays for good, and requests leave next to no cycles behind. With the
    collector's own thresholds, it would look at all requests under way again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
