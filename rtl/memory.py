# SPDX-License-Identifier: Apache-2.0
"""The only place where a memory is instantiated."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from emu.bits import layout_bits
from emu.spec import CHUNK_BITS, SystemSpec, bits_for, chunks_for
from emu.words import Section, section_layout, section_words
from rtl.component import Component
from rtl.layouts import ProgramSignature

__all__ = ["ChunkMemory", "Memory", "ReadPort", "WritePort", "section_memory", "write_chunks"]


class ReadPort(wiring.Signature):
    """Show in ``data`` the word that ``address`` named while ``enable`` was high.

    It shows one cycle later, and until the next enabled read.
    """

    def __init__(self, depth: int, bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(bits_for(depth)), "data": In(bits)})


class WritePort(wiring.Signature):
    """Store ``data`` at ``address``; one ``enable`` bit per granule."""

    def __init__(self, depth: int, bits: int, granules: int) -> None:
        super().__init__({"enable": Out(granules), "address": Out(bits_for(depth)), "data": Out(bits)})


class Memory(Component):
    """Store words: one write port, one or more read ports; contents are undefined until written.

    Read during write of the same word returns the *new* word on transparent ports (an accumulator's
    read-modify-write needs no bubbles) and is undefined on the others: no user of this module reads and
    writes one word in one cycle there.

    Parameters
    ----------
    depth : int
        Number of words.
    bits : int
        Width of a word.
    granules : int
        Separately writable parts of a word.
    reads : int
        Number of read ports.
    transparent : bool
        Read port 0 forwards a write to the same word.
    """

    def __init__(
        self, *, depth: int, bits: int, granules: int = 1, reads: int = 1, transparent: bool = False
    ) -> None:
        self._depth, self._bits, self._granules = depth, bits, granules
        self._reads, self._transparent = reads, transparent
        super().__init__(
            {
                "write": In(WritePort(depth, bits, granules)),
                "read": In(ReadPort(depth, bits)).array(reads),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build one inferred memory, which FPGA tools map to block RAM."""
        m = Module()
        array: memory.Memory
        m.submodules.array = array = memory.Memory(shape=unsigned(self._bits), depth=self._depth, init=[])
        write = array.write_port(granularity=self._bits // self._granules if self._granules > 1 else None)
        m.d.comb += [
            write.en.eq(self.write.enable),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
        ]
        for index in range(self._reads):
            forward = [write] if self._transparent and index == 0 else []
            port, own = array.read_port(transparent_for=forward), self.read[index]
            m.d.comb += [port.en.eq(own.enable), port.addr.eq(own.address), own.data.eq(port.data)]
        return m


class ChunkMemory(Component):
    """Store a program: written in 16-bit chunks by address, read in whole words.

    Parameters
    ----------
    depth : int
        Number of words.
    bits : int
        Width of a word; it takes `emu.spec.chunks_for` chunks.

    Members
    -------
    strobe, address, chunk : In
        A chunk is written.
    store : In(WritePort)
        A whole word is written; never together with a chunk.
    read : In(ReadPort)
        A whole word is read.
    """

    def __init__(self, *, depth: int, bits: int) -> None:
        self._chunks = chunks_for(bits)
        self._wide = self._chunks * CHUNK_BITS
        program = ProgramSignature().members
        super().__init__(
            {
                "strobe": In(1),
                "address": In(program["address"].shape),
                "chunk": In(CHUNK_BITS),
                "store": In(WritePort(depth, self._wide, 1)),
                "read": In(ReadPort(depth, self._wide)),
            }
        )
        self._words = Memory(depth=depth, bits=self._wide, granules=self._chunks)

    def elaborate(self, platform: object) -> Module:
        """Select the chunk inside the word by the low address bits."""
        m = Module()
        m.submodules.memory = words = self._words
        low = self._chunks.bit_length() - 1
        m.d.comb += [
            words.write.address.eq(self.address[low:]),
            words.write.data.eq(self.chunk.replicate(self._chunks)),
            words.write.enable.eq(self.strobe << self.address[:low] if low else self.strobe),
            words.read[0].enable.eq(self.read.enable),
            words.read[0].address.eq(self.read.address),
            self.read.data.eq(words.read[0].data),
        ]
        with m.If(self.store.enable):
            m.d.comb += [
                words.write.address.eq(self.store.address),
                words.write.data.eq(self.store.data),
                words.write.enable.eq(~0),
            ]
        return m


def section_memory(spec: SystemSpec, section: Section) -> ChunkMemory:
    """Return the memory of a section: as many words as the spec has, as wide as their layout."""
    return ChunkMemory(depth=section_words(spec, section), bits=layout_bits(section_layout(spec, section)))


def write_chunks(m: Module, memory: ChunkMemory, program: Component, section: Section) -> None:
    """Let the chunks of a section (`rtl.layouts.ProgramSignature`) be written into its memory."""
    m.d.comb += [
        memory.strobe.eq(program.strobe & (program.section == section)),
        memory.address.eq(program.address),
        memory.chunk.eq(program.chunk),
    ]
