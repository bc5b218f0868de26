"""Keys that were renamed or have no effect any more: still accepted, with a warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trio_lb.config.kinds import choices_leaf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_lb.config.units import Leaf


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of a profile as it was.

    Attributes:
        now: its present name; None: it has no effect any more.
        values: its old values, and what is written in their place.
    """

    now: str | None
    values: Mapping[str, str]

    @property
    def leaf(self) -> Leaf:
        """How its value is read: as it was written, which `values` then translates."""
        return choices_leaf(tuple(self.values))

    def advice(self, value: Any) -> str:
        """What to write instead of this value."""
        if self.now is None:
            return "has no effect any more: remove it"
        return f"is called {self.now} now: write {self.now}: {self.values[value]}"


OLD_KEYS: Final[Mapping[str, OldKey]] = {
    "engine": OldKey("fast_path", {"plain": "on", "h11": "off"}),
    "readiness": OldKey(None, {"auto": "", "trio": ""}),
}
"""Old keys of the profile itself, by their names."""
