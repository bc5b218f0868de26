"""How much hypothesis tries where a test says how much that should be."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import settings

#: Examples of a test that says nothing, in a thorough run: hypothesis's default.
_USUAL: Final = 100


def effort(examples: int, **others: Any) -> settings:
    """So many examples; in a run of which the profile asks less, as much less.

    Args:
        examples: in a thorough run. A number that a test sets itself would hold in every profile.
        others: settings as hypothesis knows them.
    """
    return settings(max_examples=max(1, examples * settings().max_examples // _USUAL), **others)
