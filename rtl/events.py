# SPDX-License-Identifier: Apache-2.0
"""The event banks: one collects packets for the next step, one is scanned for each block of this step."""

from amaranth.hdl import Const, EnableInserter, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import PRESENCE_WORD, CoreSpec, SystemSpec
from rtl.component import Component
from rtl.memory import DualPort, ReadPort
from rtl.scan import LevelPort, Scan, levels_of

__all__ = ["Bank", "EventScheduler"]

PLACE_BITS = bits_for(PRESENCE_WORD)


class Bank(Component):
    """The memories of one bank: values, and the levels of presence words below a summary of flip-flops.

    A clear bit of a level says that the word below reads as zero, so only the summary is ever cleared. The
    bank that collects ``first`` after reset is empty then; the other one is emptied before it collects.

    Members
    -------
    look : In(ReadPort)
        Reads the value of an axon.
    ports : In(LevelPort)
        Read the levels, that of the axons first.
    mark, marked, words : In
        The word that an axon is in is written, for each level.
    store, stored, value : In
        The value of an axon is written.
    empty : In
        The bank is emptied.
    summary : Out
        Which words of the last level hold a bit.
    """

    def __init__(self, core: CoreSpec, *, first: bool) -> None:
        self._levels, self._first = levels_of(core), first
        super().__init__(
            {
                "look": In(ReadPort(core.extended_axons, core.payload_bits)),
                "ports": In(LevelPort(core)).array(len(self._levels)),
                "mark": In(1),
                "marked": In(range(core.extended_axons)),
                "words": In(PRESENCE_WORD).array(len(self._levels)),
                "store": In(1),
                "stored": In(range(core.extended_axons)),
                "value": In(core.payload_bits),
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
            values.write.address.eq(self.stored),
            values.write.data.eq(self.value),
        ]
        for number, (memory, port) in enumerate(zip(self._presence, self.ports, strict=True)):
            m.submodules[f"presence{number}"] = memory
            m.d.comb += [
                memory.read.enable.eq(port.enable),
                memory.read.address.eq(port.address),
                port.data.eq(memory.read.data),
                memory.write.enable.eq(self.mark),
                memory.write.address.eq(self.marked[(number + 1) * PLACE_BITS :]),
                memory.write.data.eq(self.words[number]),
            ]
        summary = Signal.like(self.summary, reset_less=not self._first)
        m.d.comb += self.summary.eq(summary)
        last = self.marked[len(self._levels) * PLACE_BITS :]
        with m.If(self.empty):
            m.d.sync += summary.eq(0)
        with m.Elif(self.mark):
            m.d.sync += summary.eq(summary | (Const(1, len(summary)) << last))
        return m


class _Stage:
    """A packet on its way into a bank."""

    def __init__(self, core: CoreSpec, name: str, *, reset_less: bool) -> None:
        self.valid = Signal(name=name, reset_less=reset_less)
        self.bank = Signal(name=f"{name}_bank", reset_less=True)
        self.axon = Signal(range(core.extended_axons), name=f"{name}_axon", reset_less=True)
        self.payload = Signal(signed(core.payload_bits), name=f"{name}_payload", reset_less=True)

    def holds(self, axon: Value) -> Value:
        """Return whether the packet is for this axon: of the same bank, if the axon is present there."""
        return self.valid & (self.axon == axon[: len(self.axon)])


class EventScheduler(Component):
    """Collect packets for the next step while the events of this one are handed out, once for each block.

    A packet takes three cycles, one a cycle: what it meets is read; the presence words are written; the
    signed maximum is written. What packets before it wrote in the meantime is forwarded.

    Members
    -------
    limit : In
        Axons in use; a packet beyond is an error.
    arrive, axon, payload : In
        A spike packet comes in this cycle.
    swap : In
        The banks change roles at the end of this cycle, and the one that will collect is emptied.
    begin : In
        The events of the current bank are handed out, the first one 2 + 2 x levels cycles later.
    valid, event : Out
        An event and its axon; ``value`` shows one cycle later.
    over : Out
        All events have been handed out, in the cycle in which there is none.
    delivered, merged, refused : Out
        For the counters.
    awake : Out
        A packet is on its way into a bank; the registers that it passes are not clocked otherwise.
    scans : Out
        Events are handed out, or will be; the registers of the scan are not clocked otherwise.
    """

    def __init__(self, spec: SystemSpec) -> None:
        core = spec.core
        self._core, self._levels = core, len(levels_of(core))
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
                "awake": Out(1),
                "scans": Out(1),
            }
        )
        self._banks = [Bank(core, first=number == 0) for number in range(2)]
        self._scan = Scan(core)
        self._collecting = Signal(name="collecting")

    def elaborate(self, platform: object) -> Module:
        """Give each bank to the arrivals or to the scan."""
        m = Module()
        collecting, scan = self._collecting, self._scan
        m.submodules.scan = scan
        m.submodules.merge = EnableInserter(self.awake)(merge := Module())
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
            self.scans.eq(scan.awake),
        ]
        self._merge(merge)
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
        """Set the bits that say that a packet is there; then write the maximum of what it meets and itself.

        The value of the packet before is written when this one is compared, that of the one before it when
        this one reads: both are forwarded.
        """
        stages = [
            _Stage(self._core, name, reset_less=name == "compared")  # it stores what no presence bit tells of
            for name in ("looked", "compared")
        ]
        looked, compared = stages
        before = [stage.holds(self.axon) for stage in stages]
        again = [Signal(name=f"again_{name}", reset_less=True) for name in ("last", "before", "now")]
        met, written = (
            Signal(signed(self._core.payload_bits), name=n, reset_less=True) for n in ("met", "written")
        )
        known, was = self._presence(m, looked), Signal(reset_less=True)
        m.d.sync += [looked.valid.eq(self.delivered), compared.valid.eq(looked.valid)]
        with m.If(self.delivered):
            m.d.sync += [looked.axon.eq(self.axon), looked.payload.eq(self.payload)]
            m.d.sync += [looked.bank.eq(self._collecting), again[0].eq(before[0]), again[1].eq(before[1])]
        with m.If(looked.valid):
            m.d.sync += [compared.axon.eq(looked.axon), compared.payload.eq(looked.payload)]
            m.d.sync += [compared.bank.eq(looked.bank), again[2].eq(again[0]), was.eq(known)]
            m.d.sync += met.eq(Mux(again[1], written, self._met(looked.bank, "look")))
        old, merged = Mux(again[2], written, met), Signal.like(compared.payload, name="merged_value")
        m.d.comb += merged.eq(Mux(was & (old > compared.payload), old, compared.payload))
        with m.If(compared.valid):
            m.d.sync += written.eq(merged)
        m.d.comb += [
            self.merged.eq(looked.valid & known),
            self.awake.eq(self.delivered | looked.valid | compared.valid),
        ]
        for number, bank in enumerate(self._banks):
            m.d.comb += [
                bank.mark.eq(looked.valid & (looked.bank == number)),
                bank.marked.eq(looked.axon),
                bank.store.eq(compared.valid & (compared.bank == number)),
                bank.stored.eq(compared.axon),
                bank.value.eq(merged),
            ]

    def _met(self, number: Signal, name: str, place: int | None = None) -> Value:
        """Return what the bank of the pending packet shows on a port."""
        ports = [getattr(bank, name) for bank in self._banks]
        ports = ports if place is None else [port[place] for port in ports]
        return Mux(number, ports[1].data, ports[0].data)

    def _presence(self, m: Module, looked: _Stage) -> Value:
        """Set the packet's bit in the words of all levels; return whether it was set."""
        axon = looked.axon
        top = axon[self._levels * PLACE_BITS :]
        summary = Mux(looked.bank, self._banks[1].summary, self._banks[0].summary)
        known: Value = summary.bit_select(top, 1) if len(top) else summary[0]
        for level in reversed(range(self._levels)):
            low, high = level * PLACE_BITS, (level + 1) * PLACE_BITS
            again, met, written = (
                Signal(name=f"again{level}", reset_less=True),
                Signal(PRESENCE_WORD, name=f"met{level}"),
                Signal(PRESENCE_WORD, name=f"word{level}", reset_less=True),
            )
            with m.If(self.delivered):
                m.d.sync += again.eq(looked.valid & (axon[high:] == self.axon[: len(axon)][high:]))
            new = met | (Const(1, PRESENCE_WORD) << axon[low:high])
            with m.If(known):
                m.d.comb += met.eq(Mux(again, written, self._met(looked.bank, "ports", level)))
            with m.If(looked.valid):
                m.d.sync += written.eq(new)
            m.d.comb += [bank.words[level].eq(new) for bank in self._banks]
            known = met.bit_select(axon[low:high], 1)
        return known
