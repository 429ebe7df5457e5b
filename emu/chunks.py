# SPDX-License-Identifier: Apache-2.0
"""The program of a core as the chunks that the loader sends (`docs/reference/image.md`, "Loading")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emu.bits import Layout, chunks_for, chunks_of, layout_bits, packed_cells
from emu.spec import CHUNK_BITS, SystemSpec
from emu.words import (
    CONTROL_STRENGTHS,
    TABLES,
    Control,
    Section,
    ladder_layout,
    section_layout,
    section_words,
    sections_of,
)

if TYPE_CHECKING:
    from emu.image import CoreImage

__all__ = ["Packer", "core_chunks"]

Chunks = NDArray[np.uint16]


def core_chunks(core: CoreImage, spec: SystemSpec) -> dict[Section, Chunks]:
    """Return every section of a core as the chunks that the loader sends (all but ``enable``)."""
    return Packer(spec).several([core])[0]


class Packer:
    """Cores as chunks: a crossbar that several of them share is packed once.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the chip.
    """

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        self._layouts = {s: section_layout(spec, s) for s in sections_of(spec) if s in TABLES}
        self._lines: dict[tuple[int, int, int], tuple[CoreImage, Chunks]] = {}

    def several(self, cores: Sequence[CoreImage]) -> list[dict[Section, Chunks]]:
        """Return what `core_chunks` does for every core, put together at once where layouts are equal."""
        spec = self._spec
        out = [
            {Section.CONTROL: _control_chunks(c, spec), Section.CROSSBAR: self._crossbar(c)} for c in cores
        ]
        for section, layout in self._layouts.items() if cores else ():
            if section == Section.THRESHOLD:
                each = [self._thresholds(core, layout) for core in cores]
            else:
                words = [core.columns(section) for core in cores]
                every = {name: np.concatenate([one[name] for one in words]) for name in words[0]}
                ends = np.cumsum([len(next(iter(one.values()))) for one in words])
                each = np.split(chunks_of(layout, every), ends[:-1] * chunks_for(layout_bits(layout)))
            for own, chunks in zip(out, each, strict=True):
                own[section] = chunks
        return [dict(sorted(own.items())) for own in out]

    def _thresholds(self, core: CoreImage, layout: Layout) -> Chunks:
        """Return the words of a core's lists or ladders, which are as wide as each other."""
        own = ladder_layout(self._spec) if core.is_ladder else layout
        return chunks_of(own, core.columns(Section.THRESHOLD), layout_bits(layout))

    def _crossbar(self, core: CoreImage) -> Chunks:
        """Return whole rows of cells, unused columns zero, so that chunk addresses are consecutive.

        A row holds the cells of ``extension`` axons, those of a whole word or more each.
        """
        lines, at = self.lines(core)
        return lines[at].reshape(-1)

    def lines(self, core: CoreImage) -> tuple[Chunks, NDArray[np.int64]]:
        """Return the lines of a core's crossbar, one array for all that share it, and the line of each axon.

        uint16 (lines + 1, chunks), the last one zeros, and int64 (axons up to a whole row,).
        """
        extension = int(core.extension)
        at = np.full(-(-core.axons // extension) * extension, -1, np.int64)
        at[: core.axons] = core.lines
        return self._packed_lines(core), at

    def _packed_lines(self, core: CoreImage) -> Chunks:
        """Return the lines of a core's crossbar, and one of zeros behind them: (lines + 1, chunks)."""
        key = id(core.crossbar), len(core.strengths), int(core.extension)
        if key not in self._lines:
            cells = _placed(core, core.crossbar, self._spec)
            chunks = packed_cells(cells).view("<u2").reshape(len(cells), -1)
            self._lines[key] = core, chunks  # who is held keeps its id
        return self._lines[key][1]


def _control_chunks(core: CoreImage, spec: SystemSpec) -> NDArray[np.uint16]:
    control = np.zeros(section_words(spec, Section.CONTROL), np.uint16)
    values = {
        Control.AXONS_LOW: core.axons & ((1 << CHUNK_BITS) - 1),
        Control.AXONS_HIGH: core.axons >> CHUNK_BITS,
        Control.NEURONS: core.neurons,
        Control.STRENGTHS: len(core.strengths),
        Control.SCHEDULE: len(core.schedule),
        Control.BLOCKS: core.blocks(spec),
        Control.PER_BLOCK: core.neurons_per_block(spec),
        Control.EXTENSION: int(core.extension).bit_length() - 1,
        Control.LADDER: int(core.is_ladder),
    }
    for place, value in values.items():
        control[place] = value
    control[CONTROL_STRENGTHS : CONTROL_STRENGTHS + len(core.strengths)] = core.strengths.view(np.uint16)
    return control


def _placed(core: CoreImage, cells: NDArray[np.int8], spec: SystemSpec) -> NDArray[np.uint8]:
    """Return lines of a crossbar as wide as they are in memory, the cells as their codes, and one of zeros.

    Neuron i of block b = i div m lies in columns b L + (i mod m) k + d. The code of a cell is its lowest two
    bits.
    """
    lanes, own = spec.core.lanes, core.neurons_per_block(spec) * len(core.strengths)
    placed = np.zeros((len(cells) + 1, spec.core.columns // int(core.extension)), np.uint8)
    codes, blocks = cells.view(np.uint8) & 3, placed.reshape(len(placed), -1, lanes)
    whole, rest = divmod(cells.shape[1], own)
    blocks[:-1, :whole, :own] = codes[:, : whole * own].reshape(len(cells), whole, own)
    if rest:
        blocks[:-1, whole, :rest] = codes[:, whole * own :]
    return placed
