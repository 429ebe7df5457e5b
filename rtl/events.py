# SPDX-License-Identifier: Apache-2.0
"""The event scheduler: two banks of axon events, one collecting, one being integrated."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from emu.spec import PRESENCE_WORD, SystemSpec, bits_for
from rtl.component import Component
from rtl.memory import Memory

__all__ = ["EventScheduler", "lowest_set"]


def lowest_set(m: Module, bits: Value, index: Signal) -> None:
    """Drive ``index`` with the position of the lowest set bit of ``bits`` (0 if none is set)."""
    for place in reversed(range(len(bits))):
        with m.If(bits[place]):
            m.d.comb += index.eq(place)


class EventScheduler(Component):
    """Collect packets for the next step while handing out the events of this one, lowest axon first.

    Latency is two cycles: the old value is read, then the signed maximum is written. Throughput is one
    packet a cycle; back-to-back packets for one axon are forwarded. Presence bits are registers in words of
    32 with a summary, so the next event is found at once, however many axons there are. Values are a memory
    that is never cleared.

    Members
    -------
    limit : In
        Axons in use; a packet beyond is an error.
    arrive, axon, payload : In
        A spike packet arrives in this cycle.
    swap : In
        The banks change roles at the end of this cycle.
    discard : In
        The current bank is cleared.
    any, event : Out
        Whether an event is left in the current bank, and its axon.
    take : In
        The event is being read: its value shows one cycle later.
    done : In
        The event is removed.
    value : Out
        The payload of the axon taken one cycle before.
    delivered, merged, refused : Out
        For the counters.
    """

    def __init__(self, spec: SystemSpec) -> None:
        core = spec.core
        self._axons, self._payload_bits, self._flit_axon_bits = (
            core.axons,
            core.payload_bits,
            core.flit_axon_bits,
        )
        self._index_bits = bits_for(core.axons)
        super().__init__(
            {
                "limit": In(range(core.axons + 1)),
                "arrive": In(1),
                "axon": In(core.flit_axon_bits),
                "payload": In(signed(core.payload_bits)),
                "swap": In(1),
                "discard": In(1),
                "any": Out(1),
                "event": Out(range(core.axons)),
                "take": In(1),
                "done": In(1),
                "value": Out(signed(core.payload_bits)),
                "delivered": Out(1),
                "merged": Out(1),
                "refused": Out(1),
            }
        )
        self._values = Memory(depth=2 << self._index_bits, bits=core.payload_bits, reads=2, transparent=True)

    def elaborate(self, platform: object) -> Module:
        """Join arrival, presence and hand-out."""
        m = Module()
        words = -(-self._axons // PRESENCE_WORD)
        present = [[Signal(PRESENCE_WORD, name=f"present{b}_{w}") for w in range(words)] for b in range(2)]
        collecting = Signal()
        with m.If(self.swap):
            m.d.sync += collecting.eq(~collecting)
        m.submodules.values = self._values
        self._arrival(m, present, collecting)
        self._hand_out(m, present, collecting)
        return m

    def _arrival(self, m: Module, present: list[list[Signal]], collecting: Signal) -> None:
        """Read the old value, then write the merged one, forwarded to a next packet for the same axon."""
        values, bits = self._values, self._index_bits
        legal = self.axon < self.limit
        m.d.comb += [
            self.delivered.eq(self.arrive & legal),
            self.refused.eq(self.arrive & ~legal),
            values.read[0].enable.eq(1),
            values.read[0].address.eq(Cat(self.axon[:bits], collecting)),
        ]
        pending = Signal()
        bank, axon = Signal(reset_less=True), Signal(bits, reset_less=True)
        payload = Signal(signed(self._payload_bits), reset_less=True)
        old = Signal(signed(self._payload_bits))
        m.d.sync += [
            pending.eq(self.delivered),
            bank.eq(collecting),
            axon.eq(self.axon),
            payload.eq(self.payload),
        ]
        low, high = axon[: bits_for(PRESENCE_WORD)], axon[bits_for(PRESENCE_WORD) :]
        known = Signal()
        for b in range(2):
            for w, word in enumerate(present[b]):
                with m.If(pending & (bank == b) & (high == w)):
                    m.d.comb += known.eq(word.bit_select(low, 1))
                    m.d.sync += word.eq(word | (Const(1, PRESENCE_WORD) << low))
        m.d.comb += [
            old.eq(values.read[0].data),
            self.merged.eq(pending & known),
            values.write.enable.eq(pending),
            values.write.address.eq(Cat(axon, bank)),
            values.write.data.eq(payload),
        ]
        with m.If(known & (old > payload)):
            m.d.comb += values.write.data.eq(old)

    def _hand_out(self, m: Module, present: list[list[Signal]], collecting: Signal) -> None:
        """Show the lowest present axon of the current bank; remove it when done."""
        values, bits, words = self._values, self._index_bits, len(present[0])
        active, word, place = Signal(words), Signal(PRESENCE_WORD), Signal(range(PRESENCE_WORD))
        number = Signal(range(max(2, words)))
        for w in range(words):
            m.d.comb += active[w].eq(
                Cat(present[0][w].any() & collecting, present[1][w].any() & ~collecting).any()
            )
        lowest_set(m, active, number)
        for b in range(2):
            for w in range(words):
                with m.If((collecting != b) & (number == w)):
                    m.d.comb += word.eq(present[b][w])
                with m.If((collecting != b) & self.discard):
                    m.d.sync += present[b][w].eq(0)
                with m.Elif((collecting != b) & self.done & (number == w)):
                    m.d.sync += present[b][w].eq(present[b][w] & (present[b][w] - 1))
        lowest_set(m, word, place)
        m.d.comb += [
            self.any.eq(active.any()),
            self.event.eq(Cat(place, number)),
            values.read[1].enable.eq(self.take),
            values.read[1].address.eq(Cat(Cat(self.event, Const(0, bits))[:bits], ~collecting)),
            self.value.eq(values.read[1].data),
        ]
