"""Clients that leave while they are served: noticed within a second, whatever they sent before.

A reset means that nobody reads any more. A FIN is ambiguous: the client may have closed its
connection, or only have nothing more to send and read on; the two look the same until something is
sent to it. So such a client is served on, as long as its server sends something. If it does not:

* before a response, the client is sent 100 (Continue), which a client that reads discards
  (RFC 9110 section 15.2.1), and which a closed socket answers with a reset;
* in the middle of a response, or as HTTP/1.0 has no 100, it counts as gone after its server was
  silent for `timeouts.half_closed`.

The waits of an exchange are mostly for the server, and would not notice. So one task looks at all
clients that are being served, every so often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

import trio

from trio_lb.net.deadlines import NEVER, loop_clock
from trio_lb.net.transport import PeerState

if TYPE_CHECKING:
    from .exchange import Exchange

#: Seconds between two looks.
LOOK = 0.25

#: Looks before other tasks get their turn.
_TURN = 64

#: A server that answers sooner than this, in seconds, makes it not worth to ask.
_PATIENCE = 0.5


class Departures:
    """Looks after the clients of a proxy; somebody's nursery must run `watch_forever`.

    Args:
        half_closed: see `timeouts.half_closed`; seconds.
    """

    def __init__(self, half_closed: float) -> None:
        self._half_closed = half_closed
        self._watched: set[Watch] = set()

    def watch(self, exchange: Exchange) -> Watch:
        """Look after an exchange, until `forget`: cancel its task when the client has left.

        `exchange.left` says so then.
        """
        watch = Watch(exchange, self._half_closed)
        self._watched.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """The exchange is over."""
        self._watched.discard(watch)

    async def watch_forever(self) -> Never:
        """Look, until cancelled."""
        clock = loop_clock()
        while True:
            await trio.sleep(LOOK)
            for number, watch in enumerate(tuple(self._watched), 1):
                if watch in self._watched:  # the task may be about to serve another one by now
                    watch.look(clock.lived())
                if not number % _TURN:
                    await trio.lowlevel.checkpoint()


class Watch:
    """One exchange that is looked after."""

    __slots__ = ("_asked", "_broken", "_ended", "_exchange", "_half_closed")

    def __init__(self, exchange: Exchange, half_closed: float) -> None:
        self._exchange = exchange
        self._half_closed = half_closed
        self._ended = NEVER  # when it was seen that the client has sent its last byte
        self._asked = False
        self._broken = False  # at the last look

    def look(self, now: float) -> None:
        """Is the client still there?

        Args:
            now: as `LoopClock.lived` has it.
        """
        peer = self._exchange.stream.peer_state()
        if peer is PeerState.BROKEN:
            # A tunnel of which both sides have ended looks the same, until it notices that itself.
            if self._broken or self._exchange.record.status != 101:
                self._left("the client reset the connection")
            self._broken = True
        elif peer is PeerState.ENDED:
            self._ended = min(self._ended, now)
            self._look_closer(now)

    def _look_closer(self, now: float) -> None:
        """It has ended its direction: does it read on?"""
        exchange = self._exchange
        stream = exchange.stream
        if not exchange.body.complete or exchange.record.status == 101:
            return  # who reads it on meets the end, and knows what it means there
        if not stream.answering and not exchange.record.status:
            if trio.current_time() - exchange.started < _PATIENCE:
                return
            self._asked = self._asked or stream.ask_whether_it_is_there()
            if self._asked:
                return
        if now - max(self._ended, stream.progress.moved) >= self._half_closed:
            self._left("the client closed the connection before its response")

    def _left(self, reason: str) -> None:
        self._exchange.left = reason
        self._exchange.stream.scope.cancel()
