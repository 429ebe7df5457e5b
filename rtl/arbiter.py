# SPDX-License-Identifier: Apache-2.0
"""Round-robin arbitration: who goes first when several request the same thing."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from rtl.component import Component

__all__ = ["RoundRobin"]


class RoundRobin(Component):
    """Grant one of several requests: the first at or after the one whose turn it is, in cyclic order.

    A request that stays is granted before any other is granted twice.

    Parameters
    ----------
    count : int
        Number of requesters.

    Members
    -------
    requests : In(count)
        Who asks in this cycle.
    grant : Out(count)
        The one who is chosen; 0 if nobody asks.
    advance : In
        The grant is used: the turn goes to the requester after the granted one.
    restart : In
        The turn goes to requester 0.
    turn : Out
        Whose turn it is; requester 0 after reset.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__(
            {
                "requests": In(count),
                "grant": Out(count),
                "advance": In(1),
                "restart": In(1),
                "turn": Out(range(count)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Try the requesters in the order that begins with the turn."""
        m = Module()
        turn = Signal(range(self._count), name="turn_register")
        m.d.comb += self.turn.eq(turn)
        with m.Switch(turn):
            for first in range(self._count):
                with m.Case(first):
                    for place in reversed(range(self._count)):
                        requester = (first + place) % self._count
                        with m.If(self.requests[requester]):
                            m.d.comb += self.grant.eq(1 << requester)
        for requester in range(self._count):
            with m.If(self.advance & self.grant[requester]):
                m.d.sync += turn.eq((requester + 1) % self._count)
        with m.If(self.restart):
            m.d.sync += turn.eq(0)
        return m
