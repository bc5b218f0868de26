"""The members of a pool: an immutable snapshot of its servers, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_lb.plan import ServerPlan


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A server of a pool.

    Attributes:
        table_slot: its slot in the shared table, for as long as any process uses it.
        server: what the profile says about it.
    """

    table_slot: int
    server: ServerPlan


class Members:
    """All servers of a pool at one time: immutable, and swapped whole.

    A request keeps its member, and may ask whether that is still one of these. Across changes a
    server is identified by slot and address together, since a freed slot is given to another one.

    Args:
        servers: at least one.
        table_slots: theirs, in the same order.
        version: of those of one pool, the later ones have higher ones.

    Raises:
        ValueError: not every server has a slot of its own.

    Attributes:
        table_slots, version: as above.
        confined: one of them is below a path, which no request may climb out of.
        send_proxy: connections to one of them begin with a PROXY header.
    """

    def __init__(
        self, servers: Sequence[ServerPlan], table_slots: Sequence[int], version: int = 0
    ) -> None:
        self.table_slots = tuple(table_slots)
        self.version = version
        self.confined = any(server.address.path for server in servers)
        self.send_proxy = any(server.send_proxy for server in servers)
        if len(self.table_slots) != len(servers):
            raise ValueError(f"{len(servers)} servers can't have the slots {self.table_slots}")
        self._all = tuple(map(Member, self.table_slots, servers))
        self._by_slot = dict(zip(self.table_slots, self._all, strict=True))
        if len(self._by_slot) != len(servers):
            raise ValueError(f"{len(servers)} servers can't have the slots {self.table_slots}")

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._all)

    def __getitem__(self, index: int) -> Member:
        """A member by its server index, its place in the profile."""
        return self._all[index]

    def __contains__(self, member: Member) -> bool:
        """Whether a server is one of them, whatever has changed of it since it was this member."""
        now = self._by_slot.get(member.table_slot)
        return now is member or (
            now is not None and now.server.address.url == member.server.address.url
        )

    def at(self, table_slot: int) -> Member:
        """The one with a slot; KeyError if there is none."""
        return self._by_slot[table_slot]

    def __repr__(self) -> str:
        return f"<Members, version {self.version}: {len(self)} servers>"
