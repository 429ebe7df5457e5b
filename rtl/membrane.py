# SPDX-License-Identifier: Apache-2.0
"""The membrane: base, decays, current and potential of a neuron (rule 6 of `docs/reference/machine.md`)."""

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from emu.spec import DELTA_BITS, SystemSpec
from emu.words import Reset, Section
from rtl.component import Component
from rtl.layouts import section_struct
from rtl.visit import load, record, register, visit_struct

__all__ = ["Membrane", "clip"]

_WHOLE = 1 << (DELTA_BITS - 1)
"""The share of a value that keeps all of it."""


def clip(m: Module, total: Value, bits: int, name: str) -> tuple[Signal, Signal]:
    """Return a number clipped to so many bits, two's complement, and whether it was."""
    value, clipped = Signal(signed(bits), name=name), Signal(name=f"{name}_clipped")
    beyond = total[bits - 1 :]
    m.d.comb += [clipped.eq(~(beyond.all() | ~beyond.any())), value.eq(total)]
    with m.If(clipped):
        m.d.comb += value.eq(Mux(total[-1], -1 << (bits - 1), (1 << (bits - 1)) - 1))
    return value, clipped


def kept(product: Value) -> Value:
    """Return a value times a share, divided by the whole and rounded towards zero."""
    low = DELTA_BITS - 1
    return (product >> low) + (product[-1] & product[:low].any())


class Membrane(Component):
    """Five or six stages from the words of a neuron to its potential; a neuron a cycle.

    Its words come in cycle t (`fetched`), its profile is in the memory's output then. In t + 1 the factors of
    the decays are there, in t + 2 their products, in t + 3 the base; in t + 2 already if nothing decays.
    There it waits until its drive is whole (`ready`); one cycle later the current is clipped, two cycles
    later the potential. Reset leaves all of it: a neuron goes on if its drive is whole, and is compared if
    its thresholds come.

    Members
    -------
    init, update, fire : In
        Of the schedule entry.
    fetched : In
        ``word`` and ``state`` of a neuron are valid.
    profile : In
        The word of the profile memory, in the same cycle.
    ready, drive : In
        The drive of the neuron that waits is whole.
    silent, threshold_base : Out
        Of the neuron that waits.
    valid, visit : Out
        Two cycles after ``ready``; ``visit`` stays until the next.
    awake : Out
        A neuron moves; one that waits does not.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec, self._core = spec, spec.core
        word = section_struct(spec, Section.NEURON)
        self._visit = visit_struct(spec)
        super().__init__(
            {
                "init": In(1),
                "update": In(1),
                "fire": In(1),
                "fetched": In(1),
                "word": In(word),
                "state": In(section_struct(spec, Section.STATE)),
                "profile": In(section_struct(spec, Section.PROFILE)),
                "ready": In(1),
                "drive": In(signed(spec.core.drive_bits)),
                "silent": Out(1),
                "threshold_base": Out(word.members["threshold_base"]),
                "valid": Out(1),
                "visit": Out(self._visit),
                "awake": Out(1),
            }
        )

    def _stage(self, name: str, **members: ShapeLike) -> data.View:
        """Return the registers in front of a stage: the visit and what else is known of it there."""
        return record(data.StructLayout({"visit": self._visit, **members}), name)

    def _stages(self) -> tuple[data.View, data.View, data.View]:
        """Return the registers with the factors, with the products, and with the base that waits."""
        core = self._core
        word = {"bias": signed(core.potential_bits), "base": len(self.threshold_base)}
        factors: dict[str, ShapeLike] = {"rests": 1}
        products: dict[str, ShapeLike] = {"rests": 1}
        flags: dict[str, ShapeLike] = {"moves": 1}
        if core.decay:
            factors["leak"] = DELTA_BITS
            products["leaked"] = signed(core.potential_bits + DELTA_BITS)
        if core.synaptic_current:
            factors["share"] = DELTA_BITS
            flags["filters"] = 1
            products |= {"filtered": signed(core.potential_bits + DELTA_BITS), "filters": 1}
        begun = self._stage("begun", **word, **factors)
        multiplied = self._stage("multiplied", **word, **products)
        return begun, multiplied, self._stage("waiting", **word, **flags)

    def elaborate(self, platform: object) -> Module:
        """Factors, products, base; then current and potential."""
        m = Module()
        begun, multiplied, waiting = self._stages()
        has_begun, has_product = register(1, "has_begun"), register(1, "has_product")
        m.d.sync += has_begun.eq(self.fetched)
        with m.If(self.fetched):
            self._begin(m, begun)
        if self._core.multiplies:
            m.d.sync += has_product.eq(has_begun)
            with m.If(has_begun):
                self._multiply(m, begun, multiplied)
        else:
            multiplied, has_product = begun, has_begun
        with m.If(has_product):
            self._settle(m, multiplied, waiting)
        m.d.comb += [self.silent.eq(waiting.visit.silent), self.threshold_base.eq(waiting.base)]
        moves_on = self._store(m, *self._drive(m, waiting))
        m.d.comb += self.awake.eq(
            Cat(self.fetched, has_begun, has_product, self.ready, moves_on, self.valid).any()
        )
        return m

    def _begin(self, m: Module, begun: data.View) -> None:
        """Begin with v0 and nothing else if the entry says so; note the factors of the decays."""
        core, rests = self._core, Const(0)
        visit, state = begun.visit, self.state
        load(m, visit, self.word, self.profile)
        m.d.sync += visit.potential.eq(Mux(self.init, self.word.v0, state.potential))
        if core.synaptic_current:
            m.d.sync += visit.current.eq(Mux(self.init, 0, state.current))
            m.d.sync += begun.share.eq(self.profile.current_kept)
        if core.refractory_bits:
            rests = ~self.init & (state.refractory != 0)
            m.d.sync += visit.refractory.eq(Mux(self.init, 0, state.refractory))
        if core.decay:
            m.d.sync += begun.leak.eq(_WHOLE - self.profile.potential_decay)
        m.d.sync += [
            visit.silent.eq(~self.fire | rests),
            visit.clipped.eq(0),
            begun.rests.eq(rests),
            begun.bias.eq(self.word.bias),
            begun.base.eq(self.word.threshold_base),
        ]

    def _multiply(self, m: Module, begun: data.View, multiplied: data.View) -> None:
        """Multiply potential and current by what they keep."""
        load(m, multiplied, begun)
        if self._core.decay:
            m.d.sync += multiplied.leaked.eq(begun.visit.potential * begun.leak)
        if self._core.synaptic_current:
            m.d.sync += multiplied.filtered.eq(begun.visit.current * begun.share)
            m.d.sync += multiplied.filters.eq(begun.share != 0)

    def _settle(self, m: Module, multiplied: data.View, waiting: data.View) -> None:
        """Find the base, and what of current and bias counts in this step."""
        visit = multiplied.visit
        load(m, waiting, multiplied)
        with m.If(~self.init & ~multiplied.rests):
            with m.If(visit.reset == Reset.CLEAR):
                m.d.sync += waiting.visit.potential.eq(0)
            if self._core.decay:
                with m.Elif(self.update):
                    m.d.sync += waiting.visit.potential.eq(kept(multiplied.leaked))
        moves = self.update & ~multiplied.rests
        m.d.sync += [waiting.moves.eq(moves), waiting.bias.eq(Mux(moves, multiplied.bias, 0))]
        if self._core.synaptic_current:
            with m.If(self.update):
                m.d.sync += waiting.visit.current.eq(kept(multiplied.filtered))

    def _drive(self, m: Module, waiting: data.View) -> tuple[data.View, Signal]:
        """Add the drive to the current; return what is added to which base, and whether it is there."""
        core, visit = self._core, waiting.visit
        wide = max(core.drive_bits, core.potential_bits)
        moved = self._stage("moved", start=signed(core.potential_bits + 1), added=signed(wide))
        moves_on, added = register(1, "moves_on"), Value.cast(self.drive)
        m.d.sync += moves_on.eq(self.ready)
        if core.synaptic_current:
            current, clipped = clip(m, visit.current + self.drive, core.potential_bits, "current")
            added = Mux(waiting.filters, current, self.drive)
        with m.If(self.ready):
            load(m, moved, waiting)
            m.d.sync += moved.start.eq(visit.potential + waiting.bias)
            m.d.sync += moved.added.eq(Mux(waiting.moves, added, 0))
            if core.synaptic_current:
                with m.If(self.update):
                    m.d.sync += moved.visit.current.eq(Mux(waiting.filters, current, 0))
                    m.d.sync += moved.visit.clipped.eq(waiting.filters & clipped)
        return moved, moves_on

    def _store(self, m: Module, moved: data.View, moves_on: Signal) -> Signal:
        """Add both and clip: the potential that is compared; return whether there is one."""
        visit, valid = record(self._visit, "met"), register(1, "arrives")
        potential, clipped = clip(m, moved.start + moved.added, self._core.potential_bits, "potential")
        m.d.sync += valid.eq(moves_on)
        m.d.comb += [self.valid.eq(valid), Value.cast(self.visit).eq(Value.cast(visit))]
        with m.If(moves_on):
            load(m, visit, moved.visit)
            m.d.sync += [visit.potential.eq(potential), visit.clipped.eq(moved.visit.clipped + clipped)]
        return moves_on
