# SPDX-License-Identifier: Apache-2.0
"""The registers of a core that a program sets, and those that only tell about it."""

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import CHUNK_BITS, STRENGTH_BITS, SystemSpec
from emu.words import CONTROL_STRENGTHS, Control, Section, section_words
from rtl.component import Component
from rtl.layouts import InspectSignature, ProgramSignature
from rtl.program import Registers

__all__ = ["CONTRACT", "MAGIC", "ControlRegisters", "identity"]

MAGIC = 0x5350
"""What register 0 of the identity section holds."""

CONTRACT = 3
"""Version of the contract that the hardware follows."""


def identity(spec: SystemSpec) -> list[int]:
    """Return the registers of the identity section, but for the last two, the core's x and y.

    >>> from emu.spec import preset
    >>> registers = identity(SystemSpec(core=preset("tiny"), width=1, height=1))
    >>> len(registers), hex(registers[0]), registers[2:5], bin(registers[14])
    (15, '0x5350', [32, 32, 8], '0b1100011111')
    """
    core = spec.core
    options = (core.axon_shifts, core.ladder, core.signed_ladder, core.synaptic_current, core.decay)
    return [
        MAGIC,
        CONTRACT,
        core.axons,
        core.columns,
        core.lanes,
        core.payload_bits,
        core.potential_bits,
        core.sum_bits,
        core.strengths,
        section_words(spec, Section.THRESHOLD),
        core.fanouts - 1,
        core.schedule,
        core.profiles,
        core.max_extension,
        sum(option << bit for bit, option in enumerate(options)) | core.refractory_bits << 8,
    ]


class ControlRegisters(Component):
    """The registers of `Section.CONTROL`; reset disables the core and refuses all axons.

    The other registers keep what they hold: whoever enables the core writes them first.

    Members
    -------
    program, inspect : In
        Writes and reads.
    enable, axons, neurons, strengths, schedule, blocks, per_block, extension, ladder, strength : Out, the
        registers.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._core = core = spec.core
        super().__init__(
            {
                "program": In(ProgramSignature()),
                "inspect": In(InspectSignature()),
                "enable": Out(1),
                "axons": Out(range(core.extended_axons + 1)),
                "neurons": Out(range(core.columns + 1)),
                "strengths": Out(range(core.strengths + 1)),
                "schedule": Out(range(core.schedule + 1)),
                "blocks": Out(range(core.words + 1)),
                "per_block": Out(range(core.lanes + 1)),
                "extension": Out(range(max(2, core.max_extension.bit_length()))),
                "ladder": Out(1),
                "strength": Out(signed(STRENGTH_BITS)).array(core.strengths),
            }
        )
        self._shown = Registers(Section.CONTROL, CONTROL_STRENGTHS + core.strengths)

    def _registers(self) -> dict[int, Value]:
        """Return the outputs by address."""
        axons = Value.cast(self.axons)
        registers: dict[int, Value] = {
            Control.ENABLE: Value.cast(self.enable),
            Control.AXONS_LOW: axons[:CHUNK_BITS],
            Control.NEURONS: Value.cast(self.neurons),
            Control.STRENGTHS: Value.cast(self.strengths),
            Control.SCHEDULE: Value.cast(self.schedule),
            Control.BLOCKS: Value.cast(self.blocks),
            Control.PER_BLOCK: Value.cast(self.per_block),
        } | {CONTROL_STRENGTHS + i: Value.cast(self.strength[i]) for i in range(self._core.strengths)}
        if self._core.max_extension > 1:
            registers[Control.EXTENSION] = Value.cast(self.extension)
        if self._core.ladder:
            registers[Control.LADDER] = Value.cast(self.ladder)
        if len(axons) > CHUNK_BITS:
            registers[Control.AXONS_HIGH] = axons[CHUNK_BITS:]
        return registers

    def elaborate(self, platform: object) -> Module:
        """One register for each address, but two for the axons; those of absent options are zero."""
        m = Module()
        m.submodules.shown = shown = self._shown
        wiring.connect(m, wiring.flipped(self.inspect), shown.inspect)
        writes = self.program.strobe & (self.program.section == Section.CONTROL)
        for address, output in self._registers().items():
            kept = address not in (Control.ENABLE, Control.AXONS_LOW, Control.AXONS_HIGH)
            register = Signal(output.shape(), name=f"register{address}", reset_less=kept)
            m.d.comb += [output.eq(register), shown.register[address].eq(register)]
            with m.If(writes & (self.program.address == address)):
                m.d.sync += register.eq(self.program.chunk)
        return m
