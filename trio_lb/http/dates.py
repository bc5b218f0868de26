"""The Date field for responses that have none (RFC 9110 section 6.6.1)."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """The value of Date (an IMF-fixdate, section 5.6.7) for a time of the wall clock.

    Args:
        second: since the beginning of 1970, in UTC.
    """
    return formatdate(second, usegmt=True).encode("ascii")
