# SPDX-License-Identifier: Apache-2.0
"""Reset, refractory count and payload of a neuron that was compared (rules 7 and 8)."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import CROSSED_BITS, Emission, Reset, Section
from rtl.component import Component
from rtl.layouts import section_struct
from rtl.membrane import clip
from rtl.visit import load, record, register, visit_struct

__all__ = ["Firing"]


class Firing(Component):
    """One stage: what the neuron keeps, and what it sends.

    Members
    -------
    entry : In
        The schedule entry.
    valid, found, crossed, left : In
        A neuron comes from the quantiser.
    sends : Out
        It is going to send; valid with ``valid``.
    ready : Out
        A cycle later: the neuron of the other outputs is there.
    visit, count : Out
        Its state as it is stored, and its count.
    sender, payload, unary : Out
        It sends; the payload of its packets; one packet for each crossed threshold.
    awake : Out
        A neuron comes or is there.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        super().__init__(
            {
                "entry": In(section_struct(spec, Section.SCHEDULE)),
                "valid": In(1),
                "found": In(visit_struct(spec)),
                "crossed": In(signed(CROSSED_BITS)),
                "left": In(signed(spec.core.threshold_bits + 1)),
                "sends": Out(1),
                "ready": Out(1),
                "visit": Out(visit_struct(spec)),
                "count": Out(signed(CROSSED_BITS)),
                "sender": Out(1),
                "payload": Out(signed(spec.core.payload_bits)),
                "unary": Out(1),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Load the registers in front of the emitter."""
        m = Module()
        found, visit = self.found, record(self.visit.shape(), "kept")
        count, fired = register(signed(CROSSED_BITS), "crossings"), Signal(name="fired")
        ready, sender, unary = Signal(name="is_ready"), register(1, "is_sender"), register(1, "is_unary")
        payload = register(signed(self._core.payload_bits), "sent")
        m.d.comb += [
            fired.eq(self.crossed != 0),
            self.sends.eq(self.valid & fired & found.connected),
            self.ready.eq(ready),
            self.awake.eq(self.valid | ready),
            Value.cast(self.visit).eq(Value.cast(visit)),
            self.count.eq(count),
            self.sender.eq(sender),
            self.payload.eq(payload),
            self.unary.eq(unary),
        ]
        m.d.sync += [ready.eq(self.valid), sender.eq(self.sends)]
        with m.If(self.valid):
            load(m, visit, found)
            m.d.sync += [count.eq(self.crossed), unary.eq(found.emission == Emission.UNARY)]
            m.d.sync += payload.eq(self._payload())
            self._rest(m, fired, visit)
        self._reset(m, fired, visit)
        return m

    def _payload(self) -> Value:
        """Return what a packet carries."""
        constant = Mux(self.crossed < 0, -self.entry.emit, self.entry.emit)
        emission = self.found.emission
        counted = Mux(emission == Emission.CONSTANT, constant, self.crossed)
        return Mux(emission == Emission.UNARY, 1, counted)

    def _reset(self, m: Module, fired: Value, visit: data.View) -> None:
        """Reset a neuron that fired, once, whatever the size of its count."""
        found, entry = self.found, self.entry
        shift = Mux(self.crossed < 0, -entry.reset_value, entry.reset_value)
        subtracts, by_value = Signal(name="subtracts"), Signal(name="by_value")
        m.d.comb += [
            subtracts.eq(found.reset == Reset.SUBTRACT),
            by_value.eq(found.reset == Reset.SUBTRACT_VALUE),
        ]
        total = Mux(by_value, found.potential - shift, self.left)
        kept, clipped = clip(m, total, self._core.potential_bits, "remainder")
        with m.If(self.valid & fired):
            with m.If(subtracts | by_value):
                m.d.sync += [visit.potential.eq(kept), visit.clipped.eq(found.clipped + clipped)]
            with m.Elif(found.reset == Reset.ZERO):
                m.d.sync += visit.potential.eq(0)
            with m.Elif(found.reset == Reset.VALUE):
                m.d.sync += visit.potential.eq(entry.reset_value)

    def _rest(self, m: Module, fired: Value, visit: data.View) -> None:
        """Begin to rest, or rest one step less; the largest count never ends."""
        if not self._core.refractory_bits:
            return
        count = self.found.refractory
        with m.If(fired):
            m.d.sync += visit.refractory.eq(self.found.refractory_period)
        with m.Elif(self.entry.fire & (count != 0) & (count != self._core.refractory_max)):
            m.d.sync += visit.refractory.eq(count - 1)
