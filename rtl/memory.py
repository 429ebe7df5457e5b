# SPDX-License-Identifier: Apache-2.0
"""The only place where a memory is instantiated: bodies of one port, or of one read and one write port."""

import enum
from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, PureInterface

from emu.bits import chunks_for, layout_bits
from emu.sizes import bits_for
from emu.spec import CHUNK_BITS, SystemSpec
from emu.words import Section, section_layout, section_words
from rtl.component import Component
from rtl.layouts import InspectSignature, ProgramSignature
from rtl.macros import Macro

__all__ = [
    "Body",
    "ChunkMemory",
    "DualPort",
    "ReadPort",
    "SharedPort",
    "SinglePort",
    "WritePort",
    "join_sections",
    "section_memory",
]


class Body(enum.Enum):
    """What stands for a memory; a generator names it as its platform.

    SIMULATION shows garbage where a macro may: it is what a simulator of this Python gets. INFERRED is one
    array for each granule, which FPGA tools map to block or distributed memory. MACRO is an instance of a
    module that is named by its ports and sizes, see `rtl.macros`: its text is in a file of its own, to be
    replaced by what a memory compiler gives.
    """

    SIMULATION = enum.auto()
    INFERRED = enum.auto()
    MACRO = enum.auto()


class ReadPort(wiring.Signature):
    """Show in ``data`` the word that ``address`` named while ``enable`` was high.

    It shows one cycle later, and until the next enabled access to its port.
    """

    def __init__(self, depth: int, bits: int) -> None:
        super().__init__({"enable": Out(1), "address": Out(bits_for(depth)), "data": In(bits)})


class WritePort(wiring.Signature):
    """``data`` is stored at ``address``; one ``enable`` bit for each granule."""

    def __init__(self, depth: int, bits: int, granules: int = 1) -> None:
        super().__init__({"enable": Out(granules), "address": Out(bits_for(depth)), "data": Out(bits)})


class SharedPort(wiring.Signature):
    """One address for reading and writing.

    While ``enable`` is high, the granules of ``store`` whose bit in ``write`` is set are stored; if none is,
    ``data`` shows the word one cycle later.
    """

    def __init__(self, depth: int, bits: int, granules: int = 1) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "write": Out(granules),
                "address": Out(bits_for(depth)),
                "store": Out(bits),
                "data": In(bits),
            }
        )


def _macro(m: Module, macro: Macro, **pins: Value) -> Value:
    """Place an instance of a macro; return the word it shows."""
    shown = Signal(macro.bits, name="shown")
    ports = {f"i_{name}": value for name, value in pins.items()}
    m.submodules.macro = Instance(macro.name, i_clk=ClockSignal(), **ports, o_shown=shown)
    return shown


def _arrays(m: Module, depth: int, granule: int, *, read: Value, write: Value, data: Value) -> Value:
    """Build an array for each granule of ``data``, the last for what is left; return the word read.

    ``read`` is (enable, address), ``write`` is (enables, address), lowest bit first.
    """
    address, word = bits_for(depth), []
    for index, start in enumerate(range(0, len(data), granule)):
        part = data[start : start + granule]
        array: memory.Memory = memory.Memory(shape=unsigned(len(part)), depth=depth, init=[])
        m.submodules[f"array{index}"] = array
        into, out = array.write_port(), array.read_port()
        m.d.comb += [
            out.en.eq(read[0]),
            out.addr.eq(read[1:]),
            into.en.eq(write[index]),
            into.addr.eq(write[-address:]),
            into.data.eq(part),
        ]
        word.append(out.data)
    return Cat(*word)


def _bus(value: Value) -> Value:
    """Return a value on wires of its own: in Verilog a module shows them as one port under their name."""
    return value ^ Const(0, len(value))


def _shown(m: Module, platform: object, word: Value, *, access: Value, garbage: Value) -> Value:
    """Return the word; in a simulation its complement if the last access brought ``garbage``."""
    if platform is Body.INFERRED:
        return _bus(word)
    spoilt = Signal(name="spoilt", reset_less=True)
    with m.If(access):
        m.d.sync += spoilt.eq(garbage)
    return Mux(spoilt, ~word, word)


class SinglePort(Component):
    """Synchronous memory of one port for reading and writing (1RW); undefined until written.

    After a write ``port.data`` is garbage until the next read.

    Parameters
    ----------
    depth : int
        Words.
    bits : int
        Width of a word.
    granule : int or None
        Bits that are written apart, from the lowest bit on; by default all.
    """

    def __init__(self, *, depth: int, bits: int, granule: int | None = None) -> None:
        self._depth, self._granule = depth, granule or bits
        self.macro = Macro(kind="1rw", words=depth, bits=bits, granule=self._granule)
        super().__init__({"port": In(SharedPort(depth, bits, -(-bits // self._granule)))})

    def elaborate(self, platform: object) -> Module:
        """Read unless something is written."""
        m, port = Module(), self.port
        if platform is Body.MACRO:
            pins = {name: getattr(port, name) for name in ("enable", "write", "address", "store")}
            m.d.comb += port.data.eq(_macro(m, self.macro, **pins))
            return m
        write = port.write & port.enable.replicate(len(port.write))
        word = _arrays(
            m,
            self._depth,
            self._granule,
            read=Cat(port.enable & ~write.any(), port.address),
            write=Cat(write, port.address),
            data=port.store,
        )
        m.d.comb += port.data.eq(_shown(m, platform, word, access=port.enable, garbage=write.any()))
        return m


class DualPort(Component):
    """Synchronous memory of one read and one write port (1R1W); undefined until written.

    A read of the word that is written in the same cycle shows garbage: who needs the new word forwards it.

    Parameters
    ----------
    depth, bits, granule
        As for `SinglePort`.
    """

    def __init__(self, *, depth: int, bits: int, granule: int | None = None) -> None:
        self._depth, self._granule = depth, granule or bits
        granules = -(-bits // self._granule)
        self.macro = Macro(kind="1r1w", words=depth, bits=bits, granule=self._granule)
        super().__init__({"write": In(WritePort(depth, bits, granules)), "read": In(ReadPort(depth, bits))})

    def elaborate(self, platform: object) -> Module:
        """Join both ports to the arrays."""
        m, read, write = Module(), self.read, self.write
        if platform is Body.MACRO:
            pins = {"read": read.enable, "read_address": read.address}
            pins |= {"write": write.enable, "write_address": write.address, "store": write.data}
            m.d.comb += read.data.eq(_macro(m, self.macro, **pins))
            return m
        word = _arrays(
            m,
            self._depth,
            self._granule,
            read=Cat(read.enable, read.address),
            write=Cat(write.enable, write.address),
            data=write.data,
        )
        clash = write.enable.any() & (write.address == read.address)
        m.d.comb += read.data.eq(_shown(m, platform, word, access=read.enable, garbage=clash))
        return m


class ChunkMemory(Component):
    """Memory of a section: written and inspected in 16-bit chunks, read in whole words by the machine.

    Chunk c of word w has the address w x chunks + c. Chunks beyond the width of a word are not stored and
    show zero. Whoever writes or inspects takes the port from the machine, which is paused then.

    Parameters
    ----------
    section : Section
        The one in whose chunks the memory is written.
    depth : int
        Words.
    bits : int
        Width of a word; it takes `emu.bits.chunks_for` chunk addresses.
    dual : bool
        The machine writes too: a memory with a read and a write port.

    Members
    -------
    program : In
        A chunk is written, if ``program.section`` is this section.
    inspect : In
        A chunk is read; ``inspect.chunk`` shows it from the next cycle on, until the next chunk of any
        section is inspected, and zero if that belongs to another section.
    read : In(ReadPort)
        A whole word is read; not together with ``program`` or ``inspect``.
    store : In(WritePort)
        A whole word is written; only if ``dual``, not together with ``program``.
    accessed : Out
        The memory's enable: of its port, or of either port.
    """

    def __init__(self, section: Section, *, depth: int, bits: int, dual: bool = False) -> None:
        self._section, self._chunks, self._bits = section, chunks_for(bits), bits
        members = {
            "program": In(ProgramSignature()),
            "inspect": In(InspectSignature()),
            "read": In(ReadPort(depth, bits)),
            "accessed": Out(1),
        }
        if dual:
            members["store"] = In(WritePort(depth, bits))
        super().__init__(members)
        kind = DualPort if dual else SinglePort
        self._memory: DualPort | SinglePort = kind(depth=depth, bits=bits, granule=min(bits, CHUNK_BITS))

    def elaborate(self, platform: object) -> Module:
        """Select the chunk inside the word by the low address bits."""
        m = Module()
        m.submodules.memory = self._memory
        low = self._chunks.bit_length() - 1
        strobe, inspect = Signal(), Signal()
        m.d.comb += [
            strobe.eq(self.program.strobe & (self.program.section == self._section)),
            inspect.eq(self.inspect.enable & (self.inspect.section == self._section)),
        ]
        granule = (strobe << self.program.address[:low]) if low else strobe
        if isinstance(self._memory, DualPort):
            self._join_both(m, self._memory, granule, inspect, low)
        else:
            self._join_one(m, self._memory, granule, inspect, low)
        part, mine = Signal(max(1, low), reset_less=True), Signal(reset_less=True)
        with m.If(self.inspect.enable):
            m.d.sync += [mine.eq(inspect), part.eq(self.inspect.address[:low])]
        padded = Cat(self.read.data, Const(0, self._chunks * CHUNK_BITS - self._bits))
        m.d.comb += self.inspect.chunk.eq(Mux(mine, padded.word_select(part, CHUNK_BITS), 0))
        return m

    def _join_one(self, m: Module, words: SinglePort, granule: Value, inspect: Value, low: int) -> None:
        """Let writer, inspector and machine use one port."""
        port, strobe = words.port, granule.any()
        asked = Mux(inspect, self.inspect.address[low:], self.read.address)
        m.d.comb += [
            port.enable.eq(strobe | inspect | self.read.enable),
            port.write.eq(granule),
            port.address.eq(Mux(strobe, self.program.address[low:], asked)),
            port.store.eq(_bus(self.program.chunk.replicate(self._chunks)[: self._bits])),
            self.read.data.eq(port.data),
            self.accessed.eq(port.enable),
        ]

    def _join_both(self, m: Module, words: DualPort, granule: Value, inspect: Value, low: int) -> None:
        """Let writer and machine write, inspector and machine read."""
        m.d.comb += [
            words.read.enable.eq(inspect | self.read.enable),
            words.read.address.eq(Mux(inspect, self.inspect.address[low:], self.read.address)),
            self.read.data.eq(words.read.data),
            self.accessed.eq(words.read.enable | words.write.enable.any()),
            words.write.enable.eq(granule),
            words.write.address.eq(self.program.address[low:]),
            words.write.data.eq(self.program.chunk.replicate(self._chunks)),
        ]
        with m.If(self.store.enable):
            m.d.comb += [
                words.write.enable.eq(~0),
                words.write.address.eq(self.store.address),
                words.write.data.eq(self.store.data),
            ]


def section_memory(spec: SystemSpec, section: Section, *, dual: bool = False) -> ChunkMemory:
    """Return the memory of a section: as many words as the spec has, as wide as their layout.

    A threshold word of a core with ladders holds four thresholds too: that is the wider layout.
    """
    bits = layout_bits(section_layout(spec, section))
    return ChunkMemory(section, depth=section_words(spec, section), bits=bits, dual=dual)


_PROGRAM = ("strobe", "section", "address", "chunk")
_INSPECT = ("enable", "section", "address")


def join_sections(m: Module, program: PureInterface, inspect: Any, parts: Iterable[Component]) -> None:
    """Let writes and reads of chunks reach some parts, and the reads tell together what the parts answer.

    All have members ``program`` (`ProgramSignature`), if they can be written, and ``inspect``
    (`InspectSignature`).
    """
    chunks: Value = Const(0, CHUNK_BITS)
    for part in parts:
        m.d.comb += [getattr(part.inspect, name).eq(getattr(inspect, name)) for name in _INSPECT]
        if "program" in part.signature.members:
            m.d.comb += [getattr(part.program, name).eq(getattr(program, name)) for name in _PROGRAM]
        chunks = chunks | part.inspect.chunk
    m.d.comb += inspect.chunk.eq(chunks)
