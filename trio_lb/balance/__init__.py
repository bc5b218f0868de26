"""Which server gets the next request, and what became of it. No IO, no clock: `now` is passed in.

The work is done by the compiled table and algorithms (`trio_lb._table`, `trio_lb._select`); this
package joins them with the profile and makes their use hard to get wrong.
"""

from trio_lb._places import Places
from trio_lb.balance.evidence import Evidence
from trio_lb.balance.health import HealthTracker
from trio_lb.balance.pool import ServerPool
from trio_lb.balance.reservation import Reservation
from trio_lb.balance.shared import NoRoom, SharedTable, attach
from trio_lb.balance.state import ServerCounters, State, StateChange
from trio_lb.balance.tally import ClientCounters, Tally

__all__ = [
    "ClientCounters",
    "Evidence",
    "HealthTracker",
    "NoRoom",
    "Places",
    "Reservation",
    "ServerCounters",
    "ServerPool",
    "SharedTable",
    "State",
    "StateChange",
    "Tally",
    "attach",
]
