"""When checks mark a server up or down: rise and fall. Pure, one tracker per server."""

from __future__ import annotations

from trio_lb.pool.state import State


class HealthTracker:
    """Turns the results of health checks into the state that a server should have.

    Only results in a row that speak against the present state count: `fall` failures while it is
    alive, `rise` passes while it is dead. One that agrees starts the count anew, and so does a
    change of the state by somebody else, so that passes from before a failure never bring a
    server back early. A server that is draining stays so.

    Args:
        rise: passes in a row, at least 1.
        fall: failures in a row, at least 1.
    """

    def __init__(self, rise: int, fall: int) -> None:
        if rise < 1 or fall < 1:
            raise ValueError(f"rise and fall are at least 1, not {rise} and {fall}")
        self._needed = {State.ALIVE: fall, State.DEAD: rise}
        self._state: State | None = None
        self._against = 0

    def go_on_from(self, earlier: HealthTracker) -> None:
        """Count on from where another tracker of the same server was."""
        self._state, self._against = earlier._state, earlier._against

    def observe(self, ok: bool, state: State) -> State:
        """Take in the result of one check.

        Args:
            ok: the check passed.
            state: the server's state at this moment.

        Returns:
            The state that it should have now.
        """
        if state is State.DRAINING or ok is (state is State.ALIVE):
            against = 0
        elif state is self._state:
            against = self._against + 1
        else:
            against = 1
        self._state, self._against = state, against
        if against < self._needed.get(state, 1):
            return state
        return State.DEAD if state is State.ALIVE else State.ALIVE
