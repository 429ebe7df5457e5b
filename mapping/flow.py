# SPDX-License-Identifier: Apache-2.0
"""The whole chain in a few calls: compile a network, open an image, run it.

The only module of `mapping` that runs the machine.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emu.container import load_image, save_image
from emu.host import load_flits
from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import PRESETS, preset
from emu.trace import RunResult, Stimulus
from mapping.archive import network_from_arrays, network_to_arrays
from mapping.check import require
from mapping.convert import convert
from mapping.datasets import Dataset, accuracy, check_scale, scaled
from mapping.emit import emit
from mapping.errors import MappingError
from mapping.importers.onnx import load_onnx
from mapping.io import outputs_of, stimulus_for
from mapping.network import Network
from mapping.route import fit
from mapping.simulate import decode, encode
from mapping.spiking import INPUT, SpikingNetwork
from mapping.targets import Target, load_target
from mapping.totals import RunTotals, batches

__all__ = ["Chip", "Inference", "carried_network", "compile_network", "load_network", "open_chip"]

Progress = Callable[[int, int], None]

SHIPPED = {"digits": Path(__file__).parent / "data" / "digits.onnx"}
"""Models that install with the project; ``digits`` was trained by ``spikeloom train digits``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chip:
    """A network on a chip: the image, and the spiking network it was checked against.

    Parameters
    ----------
    image : SystemImage
        What is loaded into silicon, with the float network attached.
    spiking : SpikingNetwork
        What the image computes, and the encoder and decoder on the host.
    """

    image: SystemImage
    spiking: SpikingNetwork

    @cached_property
    def machine(self) -> Machine:
        """The emulator of this chip."""
        return Machine(self.image)

    @property
    def period(self) -> int:
        """Timesteps of one inference."""
        return int(self.image.meta["period"])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.spiking.network.shapes[self.spiking.network.input]

    @cached_property
    def program_flits(self) -> int:
        """Control packets that load the chip, one a cycle."""
        return len(load_flits(self.image))

    def prepare(self, data: Dataset, how: str | None = None) -> tuple[Dataset, str]:
        """Return data as this chip's input and how it was scaled: as given, as compiled, or ``auto``.

        Raises
        ------
        MappingError
            If the data do not fit; see `mapping.datasets.scaled`.
        """
        return scaled(data, how or self.image.meta.get("scaling") or "auto", self.spiking.network)

    def counts(self, x: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return what the encoder on the host feeds: counts (samples, input shape)."""
        return encode(self.spiking, x)

    def stimulus(self, x: NDArray[np.float64]) -> Stimulus:
        """Return the packets of samples presented one after the other."""
        return stimulus_for(self.image, self.counts(x))

    def run(
        self, x: NDArray[np.float64], *, cycles: bool = False, progress: Progress | None = None
    ) -> "Inference":
        """Emulate the image on samples (n, input shape) and decode its output on the host.

        Parameters
        ----------
        cycles : bool
            Compute every event's clock cycle too; otherwise every processor takes a part of the samples.
        progress : callable
            Called with (steps done, all steps) now and then.
        """
        counts = self.counts(x)
        result = self.machine.run(
            stimulus_for(self.image, counts),
            cycles=cycles,
            threads=os.cpu_count() or 1,
            progress=progress,
        )
        outputs: dict[str, NDArray[np.integer]] = dict(outputs_of(self.image, result, len(x)))
        if self.spiking.decoder_reads_input:
            outputs[INPUT] = counts
        return Inference(input_counts=counts, result=result, logits=decode(self.spiking, outputs))

    def totals(self, data: Dataset, *, cycles: bool = False, progress: Progress | None = None) -> RunTotals:
        """Emulate the image on any number of samples, `mapping.totals.BATCH` a run, and return the sums.

        Parameters
        ----------
        data : Dataset
            Samples in the shape and scale of the network, see `prepare`.
        cycles, progress
            As of `run`.
        """
        totals, steps = RunTotals(), len(data.x) * self.period
        for part in batches(data):
            before = totals.steps
            tell = None if progress is None else lambda done, _, at=before: progress(at + done, steps)
            run = self.run(part.x, cycles=cycles, progress=tell)
            totals.add(part, run.result, run.logits)
        return totals

    def save(self, path: str | Path) -> None:
        """Write the image file, whole or not at all."""
        save_image(self.image, path)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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

    def accuracy(self, labels: NDArray[np.int64] | None) -> float | None:
        """Return the share of samples whose largest output (the lowest index on ties) is the label."""
        return accuracy(self.logits, labels)


def load_network(path: str | Path) -> Network:
    """Read a model: an ``.onnx`` file, or ``digits`` for the network that ships with the project.

    Raises
    ------
    MappingError
        If the file is of no known kind or cannot be read.
    """
    if str(path) in SHIPPED:
        return load_onnx(SHIPPED[str(path)])
    if Path(path).suffix != ".onnx":
        raise MappingError(
            f"Model must be {', '.join(SHIPPED)} or a file ending in .onnx, not {str(path)!r}."
        )
    return load_onnx(path)


def compile_network(
    network: Network,
    *,
    target: Target | str = "loom",
    core: str | None = None,
    mesh: tuple[int, int] | None = None,
    seed: int = 0,
    scaling: str | None = None,
) -> Chip:
    """Convert, partition, place, route, emit and check: a float network becomes a chip.

    Parameters
    ----------
    network : Network
        The trained network.
    target : Target or str
        A cycle-exact target.
    core : str, optional
        Core preset instead of the target's.
    mesh : (width, height), optional
        Size of the chip; by default the smallest that fits.
    seed : int
        Seed of the placer; equal arguments give an equal image.
    scaling : str, optional
        How `scaled` scales pixels for this network, kept for whoever runs the image.

    Raises
    ------
    InfeasibleError
        If a layer does not fit: names layer, limit, demand and remedy.
    MappingError
        If the target has no core to compile for, or the check finds a fault.
    """
    target = load_target(target) if isinstance(target, str) else target
    if target.kind != "cycle-exact":
        raise MappingError(
            f"Target {target.name} is a closed form without a machine: "
            "use it with estimate, or compile for loom."
        )
    name = core or target.preset
    if name not in PRESETS:
        raise MappingError(f"Core must be one of {', '.join(PRESETS)}, not {name!r}.")
    spiking = convert(network)
    partition, placement, routes = fit(spiking, preset(name), mesh=mesh or _mesh(target), seed=seed)
    image = emit(spiking, partition, placement, routes, name=network.name)
    meta = {
        **image.meta,
        "target": target.name,
        "core": name,
        "seed": seed,
        "spikeloom": version("spikeloom"),
        "scaling": None if scaling is None else check_scale(scaling),
    }
    image = replace(image, meta=meta, attachments={**image.attachments, **network_to_arrays(network)})
    require(image, spiking)
    return Chip(image=image, spiking=spiking)


def _mesh(target: Target) -> tuple[int, int] | None:
    if target.mesh == "auto":
        return None
    width, height = target.mesh.split("x")
    return int(width), int(height)


def open_chip(path: str | Path) -> Chip:
    """Read an image file and check it against the network it carries.

    Raises
    ------
    ImageError
        If the file is damaged.
    MappingError
        If it carries no network, or does not compute it.
    """
    image = load_image(path)
    spiking = carried_network(image, path)
    require(image, spiking)
    return Chip(image=image, spiking=spiking)


def carried_network(image: SystemImage, path: str | Path) -> SpikingNetwork:
    """Return the network that an image carries for the host, converted.

    Raises
    ------
    MappingError
        If it carries none, or a damaged one.
    """
    network = network_from_arrays(image.attachments)
    try:
        return convert(network)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise MappingError(
            f"The network that {path} carries for the host is damaged ({type(error).__name__}: "
            f"{str(error)[:200]}); compile the model again."
        ) from error
