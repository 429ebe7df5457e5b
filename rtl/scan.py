# SPDX-License-Identifier: Apache-2.0
"""The scan over the presence bits of an event bank: an event a cycle, however they are spread."""

from dataclasses import dataclass

from amaranth.hdl import Cat, EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.sizes import bits_for
from emu.spec import PRESENCE_WORD, CoreSpec
from rtl.component import Component

__all__ = ["Level", "LevelPort", "Scan", "levels_of", "lowest"]

INDEX_BITS = bits_for(PRESENCE_WORD)


@dataclass(frozen=True, slots=True)
class Level:
    """A level of presence words: how many words, of how many bits."""

    words: int
    bits: int


def levels_of(core: CoreSpec) -> list[Level]:
    """Return the levels of presence words that are memories, that of the axons first.

    The words of the last level have one bit each in the summary.

    >>> from emu.spec import preset
    >>> levels_of(preset("tiny")), levels_of(preset("reference"))
    ([Level(words=1, bits=32)], [Level(words=144, bits=64), Level(words=3, bits=64)])
    """
    levels, below = [], core.extended_axons
    for _ in range(core.presence_levels):
        levels.append(Level(-(-below // PRESENCE_WORD), min(below, PRESENCE_WORD)))
        below = levels[-1].words
    return levels


def lowest(bits: Value) -> tuple[Value, Value, Value]:
    """Return whether any bit is set, whether several are, and the place of the lowest: a tree."""
    count = len(bits)
    if count == 1:
        return bits[0], bits[0] & 0, bits[0:0]
    half = 1 << bits_for(count) - 1
    (any0, many0, place0), (any1, many1, place1) = lowest(bits[:half]), lowest(bits[half:])
    place = Cat(Mux(any0, place0, place1)[: bits_for(half)] if half > 1 else place0, ~any0)
    return any0 | any1, many0 | many1 | any0 & any1, place


class LevelPort(wiring.Signature):
    """Reads a word of presence bits; ``data`` shows it one cycle later, until the next read."""

    def __init__(self, core: CoreSpec) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "address": Out(range(max(2, levels_of(core)[0].words))),
                "data": In(PRESENCE_WORD),
            }
        )


class Scan(Component):
    """Go through the set bits below a summary: the lowest axon first, one a cycle, without a gap.

    Each level holds two words: one in the output of its memory, fetched ahead, and one whose bits are handed
    to the level below. A word that the level above calls set holds a bit, so fetching one a cycle suffices.
    The first event comes 2 + 2 x levels cycles after ``begin``.

    Members
    -------
    begin : In
        Begin in the next cycle, with the ``summary`` of this one.
    ports : Out(LevelPort)
        Read the levels.
    valid, event : Out
        An event, and its axon.
    over : Out
        There is no further event: the first cycle after the last one, or in which the first could be.
    awake : Out
        From ``begin`` to ``over``: the scan need not be clocked in other cycles.
    """

    def __init__(self, core: CoreSpec) -> None:
        self._levels = levels_of(core)
        super().__init__(
            {
                "begin": In(1),
                "summary": In(self._levels[-1].words),
                "ports": Out(LevelPort(core)).array(len(self._levels)),
                "valid": Out(1),
                "event": Out(range(core.extended_axons)),
                "over": Out(1),
                "awake": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """From the summary down to the axons."""
        m = Module()
        left = Signal(len(self.summary), name="left")
        event = Signal.like(self.event, name="event_register", reset_less=True)
        found, _, index = lowest(left)
        takes = Signal(name="take_summary")
        taken = takes
        running = Signal(name="running")
        m.submodules.levels = EnableInserter(running)(levels := Module())
        with m.If(self.begin):
            m.d.sync += [left.eq(self.summary), running.eq(1)]
        with m.Else():
            with m.If(takes & running):  # a scan at rest has nothing left; told so, it takes fewer LUT4
                m.d.sync += left.eq(left & (left - 1))
            with m.If(self.over):
                m.d.sync += running.eq(0)
        for number in reversed(range(len(self._levels))):
            found, index, taken = self._level(levels, number, found, index, taken)
        m.d.comb += [taken.eq(1), self.event.eq(event), self.awake.eq(self.begin | running)]
        scanning = Signal(name="scanning")
        warm = Signal(2 * len(self._levels), name="warm")
        with m.If(self.awake):
            m.d.sync += warm.eq(Cat(self.begin, warm))
        levels.d.sync += [
            self.valid.eq(found),
            self.over.eq(scanning & ~found),
            scanning.eq(warm[-1] | scanning & found),
        ]
        with levels.If(found):
            levels.d.sync += event.eq(index)
        return m

    def _level(
        self, m: Module, number: int, above: Value, index: Value, takes: Signal
    ) -> tuple[Value, Value, Signal]:
        """Fetch the words that the level above names and hand out their bits.

        Return whether a bit is at hand, its number, and the signal that takes it.
        """
        port, bits = self.ports[number], self._levels[number].bits
        fetched, active = Signal(name=f"fetched{number}"), Signal(name=f"active{number}")
        base0, base1 = (Signal(len(index), name=f"base{number}_{i}", reset_less=True) for i in range(2))
        word, take, move = (
            Signal(bits, name=f"word{number}", reset_less=True),
            Signal(name=f"take{number}"),
            Signal(name=f"move{number}"),
        )
        _, many, place = lowest(word)
        m.d.comb += [
            move.eq(fetched & (~active | take & ~many)),
            takes.eq(above & (~fetched | move)),
            port.enable.eq(takes),
            port.address.eq(index),
        ]
        with m.If(takes):
            m.d.sync += [fetched.eq(1), base0.eq(index)]
        with m.Elif(move):
            m.d.sync += fetched.eq(0)
        with m.If(move | take):
            m.d.sync += [active.eq(move | active & many), word.eq(Mux(move, port.data, word & (word - 1)))]
        with m.If(move):
            m.d.sync += base1.eq(base0)
        return active, Cat(place, base1), take
