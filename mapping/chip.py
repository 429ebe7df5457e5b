# SPDX-License-Identifier: Apache-2.0
"""A network on a chip: its image, its emulation, and the host's part.

The only module of `mapping` that runs the machine.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from emu.container import load_image, save_image
from emu.image import SystemImage
from emu.loading import LoadTotals, load_totals
from emu.machine import Machine
from emu.trace import RunResult, Stimulus
from mapping.codes.convert import convert
from mapping.codes.obstacles import Fits, Obstacle
from mapping.datasets.load import Dataset, accuracy, batches, scaled
from mapping.errors import MappingError
from mapping.given import samples_for
from mapping.layout.capacity import fits
from mapping.layout.check import require
from mapping.layout.host_tables import interval_of, outputs_of, stimulus_for
from mapping.layout.site import Site
from mapping.model.archive import network_from_arrays
from mapping.spiking.archive import CARRIED, spiking_from_arrays
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import decode, encode
from mapping.spiking.spread import spread
from mapping.spiking.unary import unary
from mapping.stages import stage

__all__ = ["Chip", "Inference", "carried_network", "in_batches", "laid_out", "open_chip"]

Progress = Callable[[int, int], None]
Done_co = TypeVar("Done_co", covariant=True)


class Run(Protocol[Done_co]):
    """Emulates samples (n, input shape), and calls ``progress`` with (steps done, all steps)."""

    def __call__(self, x: NDArray[np.float64], *, progress: Progress | None) -> Done_co:
        """Return what became of the samples."""


def in_batches(
    run: Run[Done_co], data: Dataset, batch: int | None, *, steps: int, progress: Progress | None
) -> Iterator[tuple[Dataset, Done_co]]:
    """Run data batch by batch, one in memory at a time; give each batch and what became of it.

    ``progress`` is told the steps of all data, ``steps`` of each sample.
    """
    before, every = 0, len(data.x) * steps
    for part in batches(data, batch):
        tell = None if progress is None else lambda done, _, at=before: progress(at + done, every)
        yield part, run(part.x, progress=tell)
        before += len(part.x) * steps


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Chip:
    """A network on a chip: the image, and the spiking network it was checked against.

    Parameters
    ----------
    image : SystemImage
        What is loaded into silicon, with the float network attached.
    spiking : SpikingNetwork
        What the image computes, and the encoder and decoder on the host. The counts of the image's groups of
        neurons add up to its counts, see `on_chip`.
    site : Site, optional
        Where it was laid out; no image file tells it.
    """

    image: SystemImage
    spiking: SpikingNetwork
    site: Site | None = None

    def __repr__(self) -> str:
        """Return what it computes and how large it is, in a line."""
        spec, used = self.image.spec, sum(core is not None for core in self.image.cores)
        return (
            f"<Chip of {self.spiking.name}: {used} of {spec.width} x {spec.height} cores of "
            f"{spec.core.axons} x {spec.core.columns}, {self.period} timesteps an inference>"
        )

    @cached_property
    def machine(self) -> Machine:
        """The emulator of this chip."""
        return Machine(self.image)

    @cached_property
    def on_chip(self) -> SpikingNetwork:
        """The network whose neurons the image has: `unary` or `spread` of the one it carries."""
        return laid_out(self.image, self.spiking)

    @property
    def period(self) -> int:
        """Timesteps of one inference."""
        return int(self.image.meta["period"])

    @property
    def chips(self) -> tuple[int, int]:
        """Chips that its mesh is cut into, across and down."""
        return self.image.spec.chips

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.spiking.network.shapes[self.spiking.network.input]

    @property
    def columns(self) -> int:
        """Crossbar columns that neurons take; those of a row as long as several take as many columns each."""
        cores = [core for core in self.image.cores if core is not None]
        return sum(core.crossbar.shape[1] * int(core.extension) for core in cores)

    @cached_property
    def load(self) -> LoadTotals:
        """What loading the chip takes."""
        return load_totals(self.image)

    @property
    def scaling(self) -> str | None:
        """How pixels are scaled for it, None if that is left to the data."""
        return self.image.meta.get("scaling") or None

    def prepare(self, data: Dataset, how: str | None = None) -> tuple[Dataset, str]:
        """Return data as this chip's input and how it was scaled: as given, as compiled, or ``auto``.

        Raises
        ------
        MappingError
            If the data do not fit; see `mapping.datasets.load.scaled`.
        """
        return scaled(data, how or self.scaling or "auto", self.spiking.network)

    def counts(self, x: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return what the encoder on the host feeds: counts (samples, input shape)."""
        return encode(self.spiking, x)

    def stimulus(self, x: NDArray[np.float64]) -> Stimulus:
        """Return the packets of samples presented one after the other."""
        return stimulus_for(self.image, self.counts(x))

    def run(self, x: object, *, cycles: bool = False, progress: Progress | None = None) -> "Inference":
        """Emulate the image on samples (n, input shape) and decode its output on the host.

        Parameters
        ----------
        x : array, iterable of batches, Dataset, str or Path
            Samples as the network takes them; bytes of pixels and loaded data are scaled as it was compiled.
        cycles : bool
            Compute every event's clock cycle too; otherwise every processor takes a part of the samples.
        progress : callable
            Called with (steps done, all steps) now and then.
        """
        x = samples_for(self.spiking.network, x, self.scaling)
        counts = self.counts(x)
        result = self.emulated(counts, cycles=cycles, progress=progress)
        outputs: dict[str, NDArray[np.integer]] = dict(outputs_of(self.image, result, len(x)))
        if self.spiking.decoder_reads_input:
            outputs[INPUT] = counts
        return Inference(input_counts=counts, result=result, logits=decode(self.spiking, outputs, x))

    def emulated(
        self, counts: NDArray[np.integer], *, cycles: bool = False, progress: Progress | None = None
    ) -> RunResult:
        """Emulate the image on what enters the chip, counts (n, input shape); see `run`."""
        return self.machine.run(
            stimulus_for(self.image, counts),
            cycles=cycles,
            threads=os.cpu_count() or 1,
            progress=progress,
        )

    def runs(
        self,
        data: Dataset,
        *,
        batch: int | None = None,
        cycles: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[tuple[Dataset, "Inference"]]:
        """Emulate the image batch by batch, one in memory at a time; give each batch and what became of it.

        Parameters
        ----------
        data : Dataset
            Samples in the shape and scale of the network, see `prepare`.
        batch : int, optional
            Samples of one run instead of `mapping.datasets.load.BATCH`.
        cycles, progress
            As of `run`.
        """
        run, steps = partial(self.run, cycles=cycles), interval_of(self.image)
        yield from in_batches(run, data, batch, steps=steps, progress=progress)

    @stage("save")
    def save(self, path: str | Path) -> None:
        """Write the image file, whole or not at all."""
        save_image(self.image, path)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Inference:
    """A run of the chip on some samples.

    Parameters
    ----------
    input_counts : int32 (samples, input shape)
        What entered the chip.
    result : RunResult
        What the machine did.
    logits : float64 (samples, outputs)
        What the decoder on the host made of it.
    """

    input_counts: NDArray[np.int32]
    result: RunResult
    logits: NDArray[np.float64]

    def __repr__(self) -> str:
        """Return how much was run, in a line."""
        return f"<Inference of {len(self.logits)} samples: logits {self.logits.shape}>"

    def accuracy(self, labels: NDArray[np.int64] | None) -> float | None:
        """Return the share of samples whose largest output (the lowest index on ties) is the label."""
        return accuracy(self.logits, labels)


def open_chip(path: str | Path) -> Chip:
    """Read an image file and check it against the network it carries.

    Raises
    ------
    ImageError
        If the file is damaged.
    MappingError
        If it carries no network, or does not compute it.
    """
    with stage("read"):
        image = load_image(path)
    spiking = carried_network(image, path)
    chip = Chip(image=image, spiking=spiking)
    require(image, chip.on_chip)
    return chip


def laid_out(image: SystemImage, spiking: SpikingNetwork) -> SpikingNetwork:
    """Return the network whose neurons an image has: `unary` or `spread` of the one it carries."""
    return unary(spiking) if image.meta.get("unary") else spread(spiking)


def carried_network(image: SystemImage, path: str | Path) -> SpikingNetwork:
    """Return the network that an image carries for the host, converted.

    Raises
    ------
    MappingError
        If it carries none, or a damaged one.
    """
    network = network_from_arrays(image.attachments)
    if image.meta.get("code") in CARRIED:
        return spiking_from_arrays(image.attachments, network)
    try:
        return convert(network, _fits(image))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise MappingError(
            f"The network that {path} carries for the host is damaged ({type(error).__name__}: "
            f"{str(error)[:200]}); compile the model again."
        ) from error


def _fits(image: SystemImage) -> Fits:
    """Return the chip of an image as conversion sees it, without the layers it was too small for."""
    core, left = fits(image.spec.core, unary=bool(image.meta.get("unary"))), image.meta.get("left", {})

    def obstacle(layer: SpikingLayer) -> Obstacle | None:
        if layer.name not in left:
            return core(layer)
        reason, remedy = left[layer.name]
        return Obstacle(reason=str(reason), remedy=str(remedy))

    return obstacle
