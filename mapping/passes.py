# SPDX-License-Identifier: Apache-2.0
"""A network that runs in passes over one chip: its images, their emulation, and what the host keeps between.

The contract is `docs/reference/passes.md`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.passes import load_images, save_images
from emu.trace import RunResult
from mapping.chip import Chip, Inference, Progress, carried_network, in_batches, laid_out
from mapping.datasets.load import Dataset, scaled
from mapping.errors import MappingError
from mapping.given import samples_for
from mapping.layout.check import require
from mapping.layout.check.passes import require_passes
from mapping.layout.host_tables import outputs_of, spread, summed
from mapping.layout.passes import banded, passes_of, rows_a_unit
from mapping.layout.plan import Pass, Plan, Rows, height_of
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.simulate import decode, encode

__all__ = ["KEPT", "Passes", "open_passes", "passes_meta"]

Counts = NDArray[np.integer]

KEPT = 8
"""Passes up to which the emulators of all of them stay in memory from one batch to the next."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Passes:
    """A network in passes over one chip.

    Parameters
    ----------
    images : tuple of SystemImage
        What is loaded, in order; the first has the network attached.
    passes : tuple of Pass
        What each of them computes.
    spiking : SpikingNetwork
        The network, and the encoder and decoder on the host, as of `mapping.chip.Chip`.
    on_chip : SpikingNetwork
        The network as the chip runs it, whose parts the passes are.
    """

    images: tuple[SystemImage, ...]
    passes: tuple[Pass, ...]
    spiking: SpikingNetwork
    on_chip: SpikingNetwork

    def __repr__(self) -> str:
        """Return what it computes and in how many passes, in a line."""
        spec = self.images[0].spec
        return (
            f"<Passes of {self.spiking.name}: {len(self.images)} over {spec.width} x {spec.height} cores of "
            f"{spec.core.axons} x {spec.core.columns}, {self.period} timesteps an inference>"
        )

    @cached_property
    def loaded(self) -> tuple[Chip, ...]:
        """The chip as each pass leaves it: image and network."""
        pairs = zip(self.images, self.passes, strict=True)
        return tuple(Chip(image=image, spiking=one.network) for image, one in pairs)

    def _emulators(self) -> Iterator[Chip]:
        """Yield the chip of each pass, whose emulator is kept if passes are few and else goes with it."""
        for chip in self.loaded:
            yield chip if len(self.loaded) <= KEPT else replace(chip)

    @property
    def chips(self) -> tuple[int, int]:
        """Chips that its mesh is cut into, across and down."""
        return self.images[0].spec.chips

    @property
    def digest(self) -> str:
        """SHA-256 of the images' digests, in order."""
        return hashlib.sha256(" ".join(image.digest for image in self.images).encode()).hexdigest()

    @property
    def period(self) -> int:
        """Timesteps of one inference, in all passes together."""
        return sum(chip.period for chip in self.loaded)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.spiking.network.shapes[self.spiking.network.input]

    @property
    def scaling(self) -> str | None:
        """How pixels are scaled for it, None if that is left to the data."""
        return self.images[0].meta.get("scaling") or None

    def prepare(self, data: Dataset, how: str | None = None) -> tuple[Dataset, str]:
        """Return data as the network's input and how it was scaled, see `mapping.chip.Chip.prepare`."""
        return scaled(data, how or self.scaling or "auto", self.spiking.network)

    def run(
        self, x: object, *, cycles: bool = False, progress: Progress | None = None
    ) -> tuple[Inference, ...]:
        """Emulate all passes on samples (n, input shape), and decode the outputs on the host.

        Each pass runs all samples before the next one is loaded.

        Returns
        -------
        tuple of Inference
            One a pass: what it was fed, and what the machine did; the logits are the network's.

        Parameters
        ----------
        x, cycles
            As of `mapping.chip.Chip.run`.
        progress : callable
            Called with (steps done, all steps) now and then.
        """
        x = samples_for(self.spiking.network, x, self.scaling)
        counts = encode(self.spiking, x)
        done, outputs = self.emulated(counts, cycles=cycles, progress=progress)
        logits = decode(self.spiking, outputs, x)
        return tuple(Inference(input_counts=fed, result=result, logits=logits) for fed, result in done)

    def emulated(
        self, counts: Counts, *, cycles: bool = False, progress: Progress | None = None
    ) -> tuple[list[tuple[NDArray[np.int32], RunResult]], dict[str, Counts]]:
        """Emulate all passes on what enters the network, counts (n, input shape); see `run`.

        Returns
        -------
        list of (int32 (n, elements), RunResult)
            What each pass was fed, and what the machine did.
        dict
            What the decoder reads, by name.
        """
        steps, before = self.period * len(counts), 0
        kept, done = self._begin(counts), []
        for chip, one in zip(self._emulators(), self.passes, strict=True):
            fed = _fed(one, kept)
            tell = None if progress is None else lambda at, _, on=before: progress(on + at, steps)
            result = chip.emulated(fed, cycles=cycles, progress=tell)
            _keep(kept, one, outputs_of(chip.image, result, len(counts)), self.on_chip)
            before += chip.period * len(counts)
            done.append((fed, result))
        return done, self._outputs(kept, counts)

    def runs(
        self,
        data: Dataset,
        *,
        batch: int | None = None,
        cycles: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[tuple[Dataset, tuple[Inference, ...]]]:
        """Emulate all passes batch by batch; give each batch and what became of it, a pass after the other.

        Parameters
        ----------
        data : Dataset
            Samples in the shape and scale of the network, see `prepare`.
        batch : int, optional
            Samples between two loads instead of `mapping.datasets.load.BATCH`.
        cycles, progress
            As of `run`.
        """
        run = partial(self.run, cycles=cycles)
        yield from in_batches(run, data, batch, steps=self.period, progress=progress)

    def kept(self) -> tuple[int, ...]:
        """Return for each pass the bits that the host holds of one inference while it runs.

        They are what this pass reads or gives and what later ones, or the decoder, read of earlier ones: of
        every element as many bits as tell its counts apart.
        """
        sizes = {layer.name: _bits(layer.neurons, layer.low, layer.levels) for layer in self.on_chip.layers}
        elements = int(np.prod(self.on_chip.shape(INPUT)))
        sizes[INPUT] = _bits(elements, self.on_chip.input_low, self.on_chip.input_levels)
        later = set(self.on_chip.outputs) | ({INPUT} if self.spiking.decoder_reads_input else set())
        needed = [later]
        for one in reversed(self.passes):
            needed.append(needed[-1] | {read.name for read in one.reads})
        held, given = [], {INPUT}
        for one, names in zip(self.passes, reversed(needed[1:]), strict=True):
            here = set(one.network.outputs)
            held.append(sum(sizes[name] for name in (given & names) | here))
            given |= here
        return tuple(held)

    def save(self, path: str | Path) -> None:
        """Write the file of the passes, whole or not at all."""
        save_images(self.images, path)

    def _begin(self, counts: Counts) -> dict[str, Counts]:
        """Return what the host keeps before the first pass."""
        group = self.on_chip.input_group
        channels = self.on_chip.shape(INPUT)[0] // group
        kept: dict[str, Counts] = {INPUT: spread(counts, channels, group)}
        for layer in self.on_chip.layers:
            kept[layer.name] = np.zeros((len(counts), layer.neurons), np.int64)
        return kept

    def _outputs(self, kept: Mapping[str, Counts], counts: Counts) -> dict[str, Counts]:
        """Return what the decoder reads: counts, those of groups added up."""
        found: dict[str, Counts] = {}
        for name in self.on_chip.outputs:
            layer = self.on_chip.layer(name)
            values = np.asarray(kept[name], np.int64)
            found[name] = summed(values, len(counts), layer.output_shape, layer.group)
        if self.spiking.decoder_reads_input:
            found[INPUT] = counts
        return found


def _fed(one: Pass, kept: Mapping[str, Counts]) -> NDArray[np.int32]:
    """Return what a pass is fed, (samples, elements)."""
    parts = [kept[read.name][:, read.elements] for read in one.reads]
    return np.concatenate(parts, axis=1).astype(np.int32)


def _keep(
    kept: Mapping[str, Counts], one: Pass, outputs: Mapping[str, Counts], on_chip: SpikingNetwork
) -> None:
    """Keep what left the chip in a pass, where its rows belong."""
    for rows in one.rows:
        if rows.layer in outputs:
            layer, values = on_chip.layer(rows.layer), outputs[rows.layer]
            place = kept[rows.layer].reshape(len(values), layer.rows, height_of(layer), -1)
            part = values.reshape(len(values), rows.end - rows.begin, -1, place.shape[3])
            place[:, rows.begin : rows.end, rows.band(layer)] = part


def _bits(elements: int, low: int, high: int) -> int:
    return elements * (high - low).bit_length()


def passes_meta(number: int, rows: Sequence[Rows]) -> dict[str, Any]:
    """Return what the image of a pass says of it, as JSON data."""
    told = [[part.layer, part.begin, part.end, part.top, part.bottom] for part in rows]
    return {"pass": number, "rows": [part if part[4] is not None else part[:3] for part in told]}


def open_passes(path: str | Path) -> Passes:
    """Read a file of passes and check it against the network that it carries.

    Raises
    ------
    ImageError
        If the file is damaged.
    MappingError
        If it carries no network, or does not compute it.
    """
    images = load_images(path)
    spiking = carried_network(images[0], path)
    on_chip = laid_out(images[0], spiking)
    passes = passes_of(on_chip, _plan(images, on_chip, path))
    require_passes(on_chip, passes)
    for image, one in zip(images, passes, strict=True):
        require(image, one.network)
    return Passes(images=images, passes=passes, spiking=spiking, on_chip=on_chip)


def _plan(images: Sequence[SystemImage], on_chip: SpikingNetwork, path: str | Path) -> Plan:
    """Return what the images say of their passes."""
    order = {layer.name: at for at, layer in enumerate(on_chip.layers)}
    plan = []
    for number, image in enumerate(images):
        told = image.meta.get("rows")
        if image.meta.get("pass") != number or not isinstance(told, list) or not told:
            raise _damaged(path, number)
        rows = tuple(_rows(part, on_chip) for part in told)
        known = [order[part.layer] for part in rows if part is not None]
        if len(known) < len(rows) or known != sorted(set(known)):
            raise _damaged(path, number)
        plan.append(tuple(part for part in rows if part is not None))
    return tuple(plan)


def _rows(part: object, on_chip: SpikingNetwork) -> Rows | None:
    """Return the rows of a layer that an image tells; None if a pass cannot have them."""
    if not isinstance(part, list) or len(part) not in (3, 5) or not all(type(at) is int for at in part[1:]):
        return None
    name, begin, end, *band = part
    layer = next((layer for layer in on_chip.layers if layer.name == name), None)
    if layer is None or not 0 <= begin < end <= layer.rows:
        return None
    unit = rows_a_unit(layer)
    if begin % unit or end % unit:
        return None
    if not band:
        return Rows(layer=layer.name, begin=begin, end=end)
    if not banded(layer) or not 0 <= band[0] < band[1] <= height_of(layer):
        return None
    return Rows(layer=layer.name, begin=begin, end=end, top=band[0], bottom=band[1])


def _damaged(path: str | Path, number: int) -> MappingError:
    return MappingError(
        f"Pass {number} of {path} does not say which rows of which layers it computes; "
        "compile the model again."
    )
