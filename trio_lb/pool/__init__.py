"""Which server gets the next request, and its counters. No IO, no clock: `now` is passed in.

The work is done by the compiled table and algorithms (`trio_lb.fast.table`); this package wraps
them in an interface that is hard to misuse.
"""

from trio_lb.fast.table import Permits
from trio_lb.pool.counters import ClientCounters, Counters, SlowPathReason
from trio_lb.pool.evidence import Evidence
from trio_lb.pool.health import HealthTracker
from trio_lb.pool.members import Member, Members
from trio_lb.pool.pool import ServerPool
from trio_lb.pool.reservation import Reservation
from trio_lb.pool.shared_table import NoRoom, SharedTable, attach
from trio_lb.pool.state import ServerCounters, State, StateChange

__all__ = [
    "ClientCounters",
    "Counters",
    "Evidence",
    "HealthTracker",
    "Member",
    "Members",
    "NoRoom",
    "Permits",
    "Reservation",
    "ServerCounters",
    "ServerPool",
    "SharedTable",
    "SlowPathReason",
    "State",
    "StateChange",
    "attach",
]
