# SPDX-License-Identifier: Apache-2.0
"""What is in a model or an image, what runs where, and how full the cores are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.container import load_image
from emu.image import CoreImage
from emu.spec import CoreSpec
from mapping.chip import Chip, carried_network
from mapping.diagnosis.findings import TABLE_KINDS
from mapping.layout.check import Violation, check
from mapping.spiking.network import SpikingLayer, SpikingNetwork
from spikeloom.conversion import Converter
from spikeloom.table import Table
from spikeloom.terminal import console, number, share

__all__ = ["Subject", "core_table", "network_table", "open_image", "open_model", "show_structure"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """What is inspected: a network, and an image of it with what the check found, if there is one.

    ``converter`` makes the network of the model again, and is None for an image.
    """

    spiking: SpikingNetwork
    chip: Chip | None = None
    violations: tuple[Violation, ...] = ()
    converter: Converter | None = None

    @property
    def readable(self) -> bool:
        """Whether the neurons of the image can be told apart."""
        return self.chip is not None and not any(v.kind in TABLE_KINDS for v in self.violations)


def open_image(source: str) -> Subject:
    """Read an image, which may differ from its network."""
    image = load_image(source)
    spiking = carried_network(image, source)
    chip = Chip(image=image, spiking=spiking)
    return Subject(spiking=spiking, chip=chip, violations=tuple(check(image, chip.on_chip)))


def open_model(converter: Converter, say: Callable[[str], None]) -> Subject:
    """Convert a model, and compile it if a core size is asked for."""
    if converter.asked.core is None:
        return Subject(spiking=converter.spiking(converter.asked.setting, say), converter=converter)
    chip = converter.chip(say)
    return Subject(spiking=chip.spiking, chip=chip, converter=converter)


def show_structure(subject: Subject) -> None:
    """Print the layers of a network and, of an image, what they take of the cores, if it can be told."""
    if subject.readable and subject.chip is not None:
        _show_chip(subject.chip)
    else:
        _show_network(subject.spiking)


def _show_network(spiking: SpikingNetwork) -> None:
    console.print(network_table(spiking))
    for layer in spiking.host:
        console.print(f"on the host: {layer.name} ({layer.told})")
    console.print(host_work(spiking))


def host_work(spiking: SpikingNetwork) -> str:
    """Return the host's share of the multiply-adds, or why there is none."""
    if spiking.host_share is not None:
        return f"on the host: {share(spiking.host_share)} of the network's multiply-adds"
    return f"on the host: how many multiply-adds {', '.join(spiking.uncounted)} takes is not known"


def _show_chip(chip: Chip) -> None:
    _show_network(chip.spiking)
    spec = chip.image.spec
    used = [core for core in chip.image.cores if core is not None]
    console.print(core_table(chip))
    console.print(f"{len(used)} of {spec.width} x {spec.height} cores, {chip.period} timesteps an inference")
    console.print(f"fullest core: {_bottleneck(used, spec.core)}")
    console.print(f"digest {chip.image.digest}")


def network_table(spiking: SpikingNetwork) -> Table:
    """Return the layers on chip: shape, fan-in, levels, and how their thresholds were proven."""
    return Table(
        title=f"{spiking.name}: layers on chip",
        columns=["layer", "kind", "input", "output", "neurons", "fan-in", "zeros", "levels", "proven on"],
        rows=[_network_row(layer) for layer in spiking.layers],
        text=["kind", "proven on"],
    )


def _network_row(layer: SpikingLayer) -> list[str]:
    inputs = " + ".join("x".join(map(str, source.input_shape)) for source in layer.sources)
    shapes = (inputs, "x".join(map(str, layer.output_shape)))
    proof = f"{'all ' if layer.exhaustive else ''}{number(layer.sums_checked)} sums"
    if layer.order_dependent:
        proof += f", {number(layer.order_dependent)} depend on the order of summation"
    neurons = math.prod(layer.output_shape)
    fan_in = sum(math.prod(source.weight.shape[1:]) for source in layer.sources)
    cells = sum(source.weight.size for source in layer.sources)
    zeros = sum(int((source.weight == 0).sum()) for source in layer.sources) / cells
    counts = (number(neurons), number(fan_in), share(zeros), str(layer.levels))
    return [layer.name, layer.kind, *shapes, *counts, proof]


def core_table(chip: Chip) -> Table:
    """Return what each layer takes of its cores: the fullest core of the layer, used of available."""
    return Table(
        title="cores by layer: the fullest core, used / available",
        columns=["layer", "cores", "axons", "columns", "thresholds", "fan-out"],
        rows=[_core_row(chip, order, layer["name"]) for order, layer in enumerate(chip.image.meta["layers"])],
    )


def _core_row(chip: Chip, order: int, name: str) -> list[str]:
    placed, limits = chip.image.attachments["placed"], _limits(chip.image.spec.core)
    indices = sorted({int(core) for core in placed[placed[:, 0] == order, 2]})
    cores = [core for core in (chip.image.cores[index] for index in indices) if core is not None]
    fullest = [max(sizes) for sizes in zip(*(_used(core) for core in cores), strict=True)]
    shares = [f"{number(used)} / {number(limit)}" for used, limit in zip(fullest, limits, strict=True)]
    return [name, number(len(cores)), *shares]


def _used(core: CoreImage) -> tuple[int, int, int, int]:
    return core.axons, core.crossbar.shape[1], len(core.thresholds), len(core.fanout)


def _limits(spec: CoreSpec) -> tuple[int, int, int, int]:
    return spec.axons, spec.columns, spec.thresholds, spec.fanouts


def _bottleneck(cores: Sequence[CoreImage], spec: CoreSpec) -> str:
    """Name the limit that is nearest: what a larger network would hit first."""
    names = ("axons", "columns", "thresholds", "fan-out entries")
    shares = [
        (used / limit, name)
        for core in cores
        for used, limit, name in zip(_used(core), _limits(spec), names, strict=True)
    ]
    largest, name = max(shares)
    return f"{share(largest)} of its {name}"
