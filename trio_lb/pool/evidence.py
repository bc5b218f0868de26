"""When failures are enough evidence to mark a server down. No IO, no clock.

One bad request can make every server fail, so the failures of one client's requests are not enough
to mark a server down for all others. Failures count

* if they are of several clients' requests; or
* if another server has answered the same request: then it was not the request's fault.

They are compared with what the server has answered meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

#: Failures without an answer in between, over all workers, after which a server is marked down.
IN_A_ROW = 3

#: They are more than this part of what has ended lately (8 s), answers and them together.
SHARE = 0.1


class Evidence(NamedTuple):
    """What is known when a server has failed once more.

    Attributes:
        in_a_row: failures without an answer in between, with this one.
        confirmed: those of them after which another server has answered the same request.
        several_clients: they are of the requests of more than one client.
        answers: what the server has answered in the last 8.192 s.
        silent: it has answered nobody for as long as the request was waited for.
    """

    in_a_row: int
    confirmed: int
    several_clients: bool
    answers: int
    silent: bool

    @property
    def enough(self) -> bool:
        """The server is to be marked down."""
        if self.in_a_row < IN_A_ROW:
            return False
        if not self.several_clients and self.confirmed < IN_A_ROW:
            return False
        return self.silent or self.in_a_row > SHARE * (self.in_a_row + self.answers)
