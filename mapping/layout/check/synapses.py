# SPDX-License-Identifier: Apache-2.0
"""Compare what arrives at the axons of a core, and the cells there, with what its layer demands."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage
from mapping.layout.check.arrivals import Arrivals
from mapping.layout.check.cells import Crossbar, Crossbars, Lines, Shifts
from mapping.layout.check.frame import Frame
from mapping.layout.check.layers import Block, pooled_sources
from mapping.layout.check.violation import Violation, ViolationKind
from mapping.spiking.network import SpikingLayer

__all__ = ["Feeds", "Synapses", "feeds_of", "labels_of"]

Integers = NDArray[np.int64]
Cells = NDArray[np.integer]

_NONE = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feeds:
    """What arrives at the axons of the cores of a layer, as its inputs.

    Inputs that are the maximum over the same sources are a family. It has more than one member only where
    the windows of a pool overlap the border.

    Parameters
    ----------
    arrivals : Arrivals
        Whose packets arrive at each axon.
    family : int64 (axons,)
        The family of inputs that each axon may carry, -1 for none.
    begin, member : int64 (families + 1,), (inputs,)
        The inputs of family f are ``member[begin[f] : begin[f + 1]]``, ascending.
    """

    arrivals: Arrivals
    family: Integers
    begin: Integers
    member: Integers

    def of(self, core: int) -> "Feeds":
        """Return those of one core."""
        low, high = np.searchsorted(self.arrivals.core, [core, core + 1]).tolist()
        arrivals = self.arrivals.part(low, high)
        return Feeds(arrivals=arrivals, family=self.family[low:high], begin=self.begin, member=self.member)


def feeds_of(frame: Frame, layer: SpikingLayer, arrivals: Arrivals) -> Feeds:
    """Find the inputs that the sources of every axon stand for."""
    begin, source = np.zeros(1, np.int64), np.zeros(0, np.int64)
    for read in layer.sources:
        own, elements = pooled_sources(read)
        begin = np.append(begin, begin[-1] + own[1:])
        source = np.append(source, elements + (frame.source(read.name).start + read.first))
    inputs = len(begin) - 1
    member = np.concatenate((source, arrivals.source))
    starts = np.concatenate((begin[:-1], arrivals.begin[:-1] + len(source)))
    sizes = np.concatenate((np.diff(begin), np.diff(arrivals.begin)))
    label = labels_of(starts, sizes, member, most=int(sizes[:inputs].max()))
    order = np.argsort(label[:inputs], kind="stable")
    names, first = np.unique(label[:inputs][order], return_index=True)
    at = np.minimum(np.searchsorted(names, label[inputs:]), len(names) - 1)
    family = np.where(names[at] == label[inputs:], at, _NONE)
    return Feeds(arrivals=arrivals, family=family, begin=np.append(first, inputs), member=order)


def labels_of(starts: Integers, sizes: Integers, member: Integers, *, most: int) -> Integers:
    """Return a number for each list of members, equal for equal lists; -1 for those longer than ``most``.

    >>> labels_of(np.array([0, 2, 4]), np.array([2, 2, 1]), np.array([5, 7, 5, 7, 5]), most=2).tolist()
    [2, 2, 1]
    """
    base = int(member.max(initial=0)) + 1
    label = np.full(len(sizes), _NONE)
    for length in range(most + 1):
        own = np.flatnonzero(sizes == length)
        part = np.zeros(len(own), np.int64)
        for offset in range(length):
            part = np.unique(part * base + member[starts[own] + offset], return_inverse=True)[1]
        label[own] = part * (most + 1) + length
    return label


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Synapses:
    """The axons of one core, ``feeds``, against the weights of its outputs, ``block``.

    ``crossbars`` has what is known of the cells of the layer's cores.
    """

    layer: SpikingLayer
    index: int
    core: CoreImage
    block: Block
    feeds: Feeds
    crossbars: Crossbars

    def violations(self, frame: Frame) -> Iterator[Violation]:
        """Look at arrivals, then at the inputs that they stand for, then at every cell."""
        crossbar = self.crossbars.of(self.core)
        yield from self._meetings()
        yield from self._strangers(frame)
        unfed = crossbar.loud[self.core.lines]
        unfed[self.feeds.arrivals.axon] = False
        for silent in np.flatnonzero(unfed).tolist():
            yield self._at("unfed-axon", silent, "it has synapses and no source")
        axon, element = self._carried(crossbar)
        _, first = np.unique(element, return_index=True)
        yield from self._repeats(axon, element, first)
        yield from self._weights(crossbar, axon[first], element[first])

    def _meetings(self) -> Iterator[Violation]:
        """Demand that each source sends once, and that several meet on pooled axons only."""
        arrivals = self.feeds.arrivals
        distinct = np.diff(arrivals.begin)
        doubled = np.repeat(arrivals.axon, distinct)[arrivals.times > 1]
        for axon in np.unique(doubled).tolist():
            yield self._at("duplicate-delivery", axon, "a source sends to it more than once")
        unpooled = (distinct > 1) & ~self.core.pooled[arrivals.axon]
        for axon, count in zip(arrivals.axon[unpooled].tolist(), distinct[unpooled].tolist(), strict=True):
            yield self._at("unpooled-merge", axon, f"{count} sources meet on it and it is not pooled")

    def _strangers(self, frame: Frame) -> Iterator[Violation]:
        """Demand that the sources of every axon are those of an input."""
        arrivals = self.feeds.arrivals
        for row in np.flatnonzero(self.feeds.family == _NONE).tolist():
            sources = arrivals.source[arrivals.begin[row] : arrivals.begin[row + 1]]
            text = ", ".join(frame.text(source) for source in sources[:4].tolist())
            message = f"no input of {self.layer.name} is made of {text}"
            yield self._at("extra-connection", int(arrivals.axon[row]), message)

    def _carried(self, crossbar: Crossbar) -> tuple[Integers, Integers]:
        """Return the axons whose sources are those of an input, and that input."""
        feeds = self.feeds
        known = feeds.family != _NONE
        axon, family = feeds.arrivals.axon[known], feeds.family[known]
        element = feeds.member[feeds.begin[family]]
        several = np.flatnonzero(feeds.begin[family + 1] - feeds.begin[family] > 1)
        taken: set[int] = set()
        for row in several.tolist():
            members = feeds.member[feeds.begin[family[row]] : feeds.begin[family[row] + 1]].tolist()
            free = [member for member in members if member not in taken] or members
            wanted = self.block.of(self._place(np.array(free)))
            same = np.flatnonzero((wanted == self._held(crossbar, axon[row : row + 1])).all(axis=1))
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
        inputs = np.append(self.block.inputs, _NONE)
        at = np.searchsorted(self.block.inputs, element)
        return np.where(inputs[at] == element, at, _NONE)

    def _lines(self, axon: Integers) -> tuple[Lines, Shifts]:
        """Return the line that each axon reads, -1 for none, and its shift."""
        return self.core.lines[axon], self.core.shifts[axon // int(self.core.extension)]

    def _held(self, crossbar: Crossbar, axon: Integers) -> Cells:
        """Return the weights at some axons, (axons, neurons)."""
        return crossbar.held(*self._lines(axon))

    def _weights(self, crossbar: Crossbar, axon: Integers, element: Integers) -> Iterator[Violation]:
        """Compare every cell, given the inputs that the axons carry, each one once."""
        at, (lines, shift) = self._place(element), self._lines(axon)
        missing = self.block.needed.copy()
        missing[at[at >= 0]] = False
        for absent in self.block.inputs[missing].tolist():
            message = f"no axon joins input {absent} of {self.layer.name} to it"
            yield Violation(kind="missing-connection", message=message, core=self.index)
        if not self.crossbars.equal(crossbar, lines, shift, self.block, at):
            yield from self._cells(axon, element, crossbar.held(lines, shift), self.block.of(at))
        if min(self.layer.strengths) < 0 and crossbar.negative:
            yield from self._on_off()
        useless = ~np.append(self.block.needed, False)[at] & ~crossbar.loud[lines]
        for row in np.flatnonzero(useless).tolist():
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

    def _cells(self, axon: Integers, element: Integers, held: Cells, wanted: Cells) -> Iterator[Violation]:
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
