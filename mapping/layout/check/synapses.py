# SPDX-License-Identifier: Apache-2.0
"""Compare what arrives at the axons of a core, and the cells there, with what its layer demands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage
from mapping.layout.check.arrivals import Arrivals
from mapping.layout.check.cells import Crossbar
from mapping.layout.check.families import NONE, Families
from mapping.layout.check.frame import Frame
from mapping.layout.check.layers import Block, Weights, pooled_sources
from mapping.layout.check.violation import Violation, ViolationKind
from mapping.spiking.network import SpikingLayer

__all__ = ["Feeds", "Plain", "Synapses", "feeds_of"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Feeds:
    """What arrives at the axons of the cores of a layer, as its inputs.

    Inputs that are the maximum over the same sources are a family. It has more than one member only where
    the windows of a pool overlap the border.

    Parameters
    ----------
    arrivals : Arrivals
        Whose packets arrive at each axon.
    family : int64 (axons,)
        The family of inputs that each axon may carry, `NONE` for none.
    families : Families
        The inputs of each family.
    """

    arrivals: Arrivals
    family: Integers
    families: Families

    def split(self, cores: Sequence[int]) -> "list[Feeds]":
        """Return those of each core; one that is named again has the same ones."""
        own = list(dict.fromkeys(cores))
        begin, end = np.searchsorted(self.arrivals.core, np.add.outer((0, 1), own)).tolist()
        made = {
            core: Feeds(
                arrivals=self.arrivals.part(low, high), family=self.family[low:high], families=self.families
            )
            for core, low, high in zip(own, begin, end, strict=True)
        }
        return [made[core] for core in cores]

    @cached_property
    def plain(self) -> "Plain | None":
        """What each axon carries; None if it is not plain which input, or that it comes once."""
        begin, member = self.families.begin, self.families.member
        if (self.family == NONE).any() or (self.arrivals.times > 1).any():
            return None
        if len(member) >= len(begin) and (begin[self.family + 1] - begin[self.family] > 1).any():
            return None
        element = member[begin[self.family]]
        order = np.argsort(element)
        arrivals = self.arrivals
        return Plain(axon=arrivals.axon[order], element=element[order], distinct=arrivals.distinct[order])


class Plain:
    """The axons of a core by the input that each one carries, ascending.

    Parameters
    ----------
    axon, element, distinct : int64 (axons,)
        The axon, its input, and the sources that meet there.
    """

    def __init__(self, *, axon: Integers, element: Integers, distinct: Integers) -> None:
        self.axon, self.element, self.distinct = axon, element, distinct
        self._inputs = self._places = np.zeros(0, np.int64)

    def places(self, inputs: Integers) -> Integers:
        """Return where each input stands among some, ascending, and -1 - input for those that do not."""
        if inputs is not self._inputs:
            place = np.searchsorted(inputs, self.element)
            strange = np.append(inputs, -1)[place] != self.element
            self._inputs, self._places = inputs, np.where(strange, -1 - self.element, place)
        return self._places


def feeds_of(frame: Frame, layer: SpikingLayer, arrivals: Arrivals) -> Feeds:
    """Find the inputs that the sources of every axon stand for."""
    begin, source = np.zeros(1, np.int64), np.zeros(0, np.int64)
    for read in layer.sources:
        own, elements = pooled_sources(read)
        begin = np.append(begin, begin[-1] + own[1:])
        source = np.append(source, elements + (frame.source(read.name).start + read.first))
    families = Families.of(begin, source)
    return Feeds(arrivals=arrivals, family=families.find(arrivals.begin, arrivals.source), families=families)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Synapses:
    """The axons of one core, ``feeds``, and its ``crossbar``, against what its outputs weigh, ``block``."""

    layer: SpikingLayer
    index: int
    core: CoreImage
    block: Block
    feeds: Feeds
    crossbar: Crossbar

    def violations(self, frame: Frame) -> Iterator[Violation]:
        """Look at arrivals, then at the inputs that they stand for, then at every cell."""
        yield from self._meetings()
        yield from self._strangers(frame)
        unfed = self.crossbar.loud[self.core.lines]
        unfed[self.feeds.arrivals.axon] = False
        for silent in np.flatnonzero(unfed).tolist():
            yield self._at("unfed-axon", silent, "it has synapses and no source")
        axon, element = self._carried()
        _, first = np.unique(element, return_index=True)
        yield from self._repeats(axon, element, first)
        yield from self._weights(axon[first], element[first])

    def _meetings(self) -> Iterator[Violation]:
        """Demand that each source sends once, and that several meet on pooled axons only."""
        arrivals = self.feeds.arrivals
        distinct = arrivals.distinct
        doubled = np.repeat(arrivals.axon, distinct)[arrivals.times > 1]
        for axon in np.unique(doubled).tolist():
            yield self._at("duplicate-delivery", axon, "a source sends to it more than once")
        unpooled = (distinct > 1) & ~self.core.pooled[arrivals.axon]
        for axon, count in zip(arrivals.axon[unpooled].tolist(), distinct[unpooled].tolist(), strict=True):
            yield self._at("unpooled-merge", axon, f"{count} sources meet on it and it is not pooled")

    def _strangers(self, frame: Frame) -> Iterator[Violation]:
        """Demand that the sources of every axon are those of an input."""
        arrivals = self.feeds.arrivals
        for row in np.flatnonzero(self.feeds.family == NONE).tolist():
            sources = arrivals.source[arrivals.begin[row] : arrivals.begin[row + 1]]
            text = ", ".join(frame.text(source) for source in sources[:4].tolist())
            message = f"no input of {self.layer.name} is made of {text}"
            yield self._at("extra-connection", int(arrivals.axon[row]), message)

    def _carried(self) -> tuple[Integers, Integers]:
        """Return the axons whose sources are those of an input, and that input."""
        begin, member = self.feeds.families.begin, self.feeds.families.member
        known = self.feeds.family != NONE
        axon, family = self.feeds.arrivals.axon[known], self.feeds.family[known]
        element = member[begin[family]]
        several = np.flatnonzero(begin[family + 1] - begin[family] > 1)
        taken: set[int] = set()
        for row in several.tolist():
            members = member[begin[family[row]] : begin[family[row] + 1]].tolist()
            free = [member for member in members if member not in taken] or members
            wanted = self.block.of(self._place(np.array(free)))
            same = np.flatnonzero((wanted == self._held(axon[row : row + 1])).all(axis=1))
            element[row] = free[int(same[0]) if len(same) else 0]
            taken.add(int(element[row]))
        return axon, element

    def _repeats(self, axon: Integers, element: Integers, first: Integers) -> Iterator[Violation]:
        """Demand that every input has one axon; ``first`` has the row of the first one of each."""
        again = np.ones(len(element), np.bool_)
        again[first] = False
        for row in np.flatnonzero(again).tolist():
            other = axon[first[np.searchsorted(element[first], element[row])]]
            message = f"axon {other} carries input {element[row]} too"
            yield self._at("duplicate-connection", int(axon[row]), message)

    def _place(self, element: Integers) -> Integers:
        """Return where in the block some inputs stand, -1 for those that do not."""
        inputs = np.append(self.block.inputs, NONE)
        at = np.searchsorted(self.block.inputs, element)
        return np.where(inputs[at] == element, at, NONE)

    def _held(self, axon: Integers) -> Weights:
        """Return the weights at some axons, (axons, neurons)."""
        return self.crossbar.held(self.core.lines[axon], self.core.shifts[axon // int(self.core.extension)])

    def _weights(self, axon: Integers, element: Integers) -> Iterator[Violation]:
        """Compare every cell, given the inputs that the axons carry, each one once."""
        at = self._place(element)
        unread = np.ones(len(self.block.inputs), np.bool_)
        unread[at[at >= 0]] = False
        missing = np.flatnonzero(unread)
        for absent in self.block.inputs[missing[self.block.needed(missing)]].tolist():
            message = f"no axon joins input {absent} of {self.layer.name} to it"
            yield Violation(kind="missing-connection", message=message, core=self.index)
        held, wanted = self._held(axon), self.block.of(at)
        if not np.array_equal(held, wanted):
            yield from self._cells(axon, element, held, wanted)
        if min(self.layer.strengths) < 0 and self.crossbar.negative:
            yield from self._on_off()
        quiet = np.flatnonzero(~self.crossbar.loud[self.core.lines[axon]])
        for row in quiet[~self.block.needed(at[quiet])].tolist():
            message = f"input {element[row]} has no weight on this core"
            yield self._at("extra-delivery", int(axon[row]), message)

    def _on_off(self) -> Iterator[Violation]:
        """Demand cells that are on or off where strengths have the signs: such a chip has no others."""
        for axon, column in np.argwhere(self.core.cells < 0).tolist():
            yield Violation(
                kind="wrong-weight",
                message="a cell is -1 and must be on or off, 1 or 0",
                core=self.index,
                neuron=column // len(self.layer.strengths),
                axon=axon,
            )

    def _cells(
        self, axon: Integers, element: Integers, held: Weights, wanted: Weights
    ) -> Iterator[Violation]:
        """Name every cell that differs."""
        for row, neuron in zip(*(column.tolist() for column in np.nonzero(held != wanted)), strict=True):
            yield Violation(
                kind="wrong-weight",
                message=f"the weight of input {element[row]} is {held[row, neuron]} "
                f"and must be {wanted[row, neuron]}",
                core=self.index,
                neuron=neuron,
                axon=int(axon[row]),
            )

    def _at(self, kind: ViolationKind, axon: int, message: str) -> Violation:
        return Violation(kind=kind, message=message, core=self.index, axon=axon)
