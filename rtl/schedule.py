# SPDX-License-Identifier: Apache-2.0
"""The schedule: which rules apply in this step, and the position that advances with every token."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import SystemSpec
from emu.words import Section
from rtl.component import Component
from rtl.layouts import InspectSignature, ProgramSignature, section_struct
from rtl.memory import join_sections, section_memory

__all__ = ["Schedule"]


class Schedule(Component):
    """Hold the schedule entries, and read the current one when a step begins.

    Members
    -------
    program, inspect : In
        Chunks; any write to the control or schedule memory returns the position to zero, and reset does not:
        a core is enabled by such a write.
    length : In
        Entries in use.
    look : In
        Read the current entry; not together with ``program`` or ``inspect``.
    advance : In
        The step has ended.
    entry : Out
        The entry read last, from one cycle later on.
    position, repetition : Out
        Where in the schedule the core is.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._layout = section_struct(spec, Section.SCHEDULE)
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "inspect": In(InspectSignature()),
                "length": In(range(spec.core.schedule + 1)),
                "look": In(1),
                "advance": In(1),
                "entry": Out(self._layout),
                "position": Out(range(spec.core.schedule)),
                "repetition": Out(self._layout["repeat"].width),
            }
        )
        self._memory = section_memory(spec, Section.SCHEDULE)

    def elaborate(self, platform: object) -> Module:
        """Count the repetitions of an entry, then the entries, and begin again."""
        m = Module()
        m.submodules.schedule_memory = memory = self._memory
        entry = data.View(self._layout, memory.read.data)
        position = Signal.like(self.position, reset_less=True)
        repetition = Signal.like(self.repetition, reset_less=True)
        rewind = Signal()
        control, schedule = self.program.section == Section.CONTROL, self.program.section == Section.SCHEDULE
        join_sections(m, self.program, self.inspect, [memory])
        m.d.comb += [
            memory.read.enable.eq(self.look),
            memory.read.address.eq(self.position),
            self.entry.eq(entry),
            self.position.eq(position),
            self.repetition.eq(repetition),
            rewind.eq(self.program.strobe & (control | schedule)),
        ]
        with m.If(rewind):
            m.d.sync += [position.eq(0), repetition.eq(0)]
        with m.Elif(self.advance):
            m.d.sync += repetition.eq(repetition + 1)
            with m.If(repetition + 1 == entry.repeat):
                m.d.sync += [repetition.eq(0), position.eq(position + 1)]
                with m.If(position + 1 == self.length):
                    m.d.sync += position.eq(0)
        return m
