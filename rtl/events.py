# SPDX-License-Identifier: Apache-2.0
"""The event banks: one collects packets for the next step, one is scanned for each block of this step."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import PRESENCE_WORD, CoreSpec, SystemSpec, bits_for
from rtl.component import Component
from rtl.memory import DualPort, ReadPort
from rtl.scan import LevelPort, Scan, levels_of

__all__ = ["Bank", "EventScheduler"]

PLACE_BITS = bits_for(PRESENCE_WORD)


class Bank(Component):
    """The memories of one bank: values, and the levels of presence words below a summary of flip-flops.

    A clear bit of a level says that the word below reads as zero, so only the summary is ever cleared.

    Members
    -------
    look : In(ReadPort), reads the value of an axon.
    ports : In(LevelPort), read the levels, that of the axons first.
    store : In, ``value`` is written for ``axon``, and for each level the word that it is in.
    empty : In, the bank is emptied.
    summary : Out, which words of the last level hold a bit.
    """

    def __init__(self, core: CoreSpec) -> None:
        self._levels = levels_of(core)
        super().__init__(
            {
                "look": In(ReadPort(core.extended_axons, core.payload_bits)),
                "ports": In(LevelPort(core)).array(len(self._levels)),
                "store": In(1),
                "axon": In(range(core.extended_axons)),
                "value": In(core.payload_bits),
                "words": In(PRESENCE_WORD).array(len(self._levels)),
                "empty": In(1),
                "summary": Out(self._levels[-1].words),
            }
        )
        self._values = DualPort(depth=core.extended_axons, bits=core.payload_bits)
        self._presence = [DualPort(depth=level.words, bits=level.bits) for level in self._levels]

    def elaborate(self, platform: object) -> Module:
        """Attach the memories; keep the summary."""
        m = Module()
        m.submodules.values = values = self._values
        wiring.connect(m, wiring.flipped(self.look), values.read)
        m.d.comb += [
            values.write.enable.eq(self.store),
            values.write.address.eq(self.axon),
            values.write.data.eq(self.value),
        ]
        for number, (memory, port) in enumerate(zip(self._presence, self.ports, strict=True)):
            m.submodules[f"presence{number}"] = memory
            m.d.comb += [
                memory.read.enable.eq(port.enable),
                memory.read.address.eq(port.address),
                port.data.eq(memory.read.data),
                memory.write.enable.eq(self.store),
                memory.write.address.eq(self.axon[(number + 1) * PLACE_BITS :]),
                memory.write.data.eq(self.words[number]),
            ]
        summary = Signal.like(self.summary)
        m.d.comb += self.summary.eq(summary)
        last = self.axon[len(self._levels) * PLACE_BITS :]
        with m.If(self.empty):
            m.d.sync += summary.eq(0)
        with m.Elif(self.store):
            m.d.sync += summary.eq(summary | (Const(1, len(summary)) << last))
        return m


class EventScheduler(Component):
    """Collect packets for the next step while the events of this one are handed out, once for each block.

    A packet takes two cycles, one a cycle: the words it meets are read, then the signed maximum and the
    presence words are written. What the packet before it wrote is forwarded.

    Members
    -------
    limit : In, axons in use; a packet beyond is an error.
    arrive, axon, payload : In, a spike packet comes in this cycle.
    swap : In, the banks change roles at the end of this cycle, and the one that will collect is emptied.
    begin : In, the events of the current bank are handed out, the first one 2 + 2 x levels cycles later.
    valid, event : Out, an event and its axon; ``value`` shows one cycle later.
    over : Out, all events have been handed out, in the cycle in which there is none.
    delivered, merged, refused : Out, for the counters.
    """

    def __init__(self, spec: SystemSpec) -> None:
        core = spec.core
        self._levels, self._payload_bits = len(levels_of(core)), core.payload_bits
        super().__init__(
            {
                "limit": In(range(core.extended_axons + 1)),
                "arrive": In(1),
                "axon": In(core.flit_axon_bits),
                "payload": In(signed(core.payload_bits)),
                "swap": In(1),
                "begin": In(1),
                "valid": Out(1),
                "event": Out(range(core.extended_axons)),
                "value": Out(signed(core.payload_bits)),
                "over": Out(1),
                "delivered": Out(1),
                "merged": Out(1),
                "refused": Out(1),
            }
        )
        self._banks = [Bank(core) for _ in range(2)]
        self._scan = Scan(core)
        self._collecting = Signal(name="collecting")

    def elaborate(self, platform: object) -> Module:
        """Give each bank to the arrivals or to the scan."""
        m = Module()
        collecting, scan = self._collecting, self._scan
        m.submodules.scan = scan
        for number, bank in enumerate(self._banks):
            m.submodules[f"bank{number}"] = bank
            m.d.comb += bank.empty.eq(self.swap & (collecting != number))
            with m.If(collecting == number):
                self._look(m, bank)
            with m.Else():
                self._hand_out(m, bank)
        with m.If(self.swap):
            m.d.sync += collecting.eq(~collecting)
        m.d.comb += [
            self.delivered.eq(self.arrive & (self.axon < self.limit)),
            self.refused.eq(self.arrive & ~self.delivered),
            self.valid.eq(scan.valid),
            self.event.eq(scan.event),
            self.over.eq(scan.over),
            scan.begin.eq(self.begin),
        ]
        self._merge(m)
        return m

    def _look(self, m: Module, bank: Bank) -> None:
        """Read what a packet meets in the collecting bank."""
        m.d.comb += [bank.look.enable.eq(self.delivered), bank.look.address.eq(self.axon)]
        for number, port in enumerate(bank.ports):
            m.d.comb += [
                port.enable.eq(self.delivered),
                port.address.eq(self.axon[(number + 1) * PLACE_BITS :]),
            ]

    def _hand_out(self, m: Module, bank: Bank) -> None:
        """Let the scan read the current bank."""
        scan = self._scan
        m.d.comb += [
            scan.summary.eq(bank.summary),
            bank.look.enable.eq(scan.valid),
            bank.look.address.eq(scan.event),
            self.value.eq(bank.look.data),
        ]
        for own, port in zip(scan.ports, bank.ports, strict=True):
            m.d.comb += [
                port.enable.eq(own.enable),
                port.address.eq(own.address),
                own.data.eq(port.data),
            ]

    def _merge(self, m: Module) -> None:
        """Write the maximum of the value met and the payload, and the bits that say that it is there."""
        pending, again, number = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        axon = Signal.like(self._banks[0].axon, reset_less=True)
        payload, written = (
            Signal(signed(self._payload_bits), name=name, reset_less=True) for name in ("payload", "written")
        )
        m.d.sync += pending.eq(self.delivered)
        with m.If(self.delivered):
            m.d.sync += [
                axon.eq(self.axon),
                payload.eq(self.payload),
                number.eq(self._collecting),
                again.eq(pending & (axon == self.axon)),
            ]
        old, merged = Signal(signed(self._payload_bits)), Signal(signed(self._payload_bits))
        known = self._presence(m, pending, number, axon)
        m.d.comb += [
            old.eq(Mux(again, written, self._met(number, "look"))),
            merged.eq(Mux(known & (old > payload), old, payload)),
            self.merged.eq(pending & known),
        ]
        with m.If(pending):
            m.d.sync += written.eq(merged)
        for index, bank in enumerate(self._banks):
            m.d.comb += [
                bank.store.eq(pending & (number == index)),
                bank.axon.eq(axon),
                bank.value.eq(merged),
            ]

    def _met(self, number: Signal, name: str, place: int | None = None) -> Value:
        """Return what the bank of the pending packet shows on a port."""
        ports = [getattr(bank, name) for bank in self._banks]
        ports = ports if place is None else [port[place] for port in ports]
        return Mux(number, ports[1].data, ports[0].data)

    def _presence(self, m: Module, pending: Signal, number: Signal, axon: Signal) -> Value:
        """Set the packet's bit in the words of all levels; return whether it was set."""
        top = axon[self._levels * PLACE_BITS :]
        summary = Mux(number, self._banks[1].summary, self._banks[0].summary)
        known: Value = summary.bit_select(top, 1) if len(top) else summary[0]
        for level in reversed(range(self._levels)):
            low, high = level * PLACE_BITS, (level + 1) * PLACE_BITS
            again, met, written = (
                Signal(name=f"again{level}", reset_less=True),
                Signal(PRESENCE_WORD, name=f"met{level}"),
                Signal(PRESENCE_WORD, name=f"word{level}", reset_less=True),
            )
            with m.If(self.delivered):
                m.d.sync += again.eq(pending & (axon[high:] == self.axon[: len(axon)][high:]))
            new = met | (Const(1, PRESENCE_WORD) << axon[low:high])
            with m.If(known):
                m.d.comb += met.eq(Mux(again, written, self._met(number, "ports", level)))
            with m.If(pending):
                m.d.sync += written.eq(new)
            m.d.comb += [bank.words[level].eq(new) for bank in self._banks]
            known = met.bit_select(axon[low:high], 1)
        return known
