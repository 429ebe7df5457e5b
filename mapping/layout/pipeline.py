# SPDX-License-Identifier: Apache-2.0
"""Let a new sample enter in every step, where no layer keeps anything (`docs/reference/mapping.md`)."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from emu.image import CoreImage, SystemImage
from emu.spec import CoreSpec
from emu.tables import columns_of
from emu.words import Section
from mapping.errors import MappingError
from mapping.layout.partition import arrivals, depths
from mapping.spiking.network import INPUT, SpikingNetwork

__all__ = ["UnpipelinedError", "pipelined", "relays"]


class UnpipelinedError(MappingError):
    """A layer reads activations of unlike age, and nothing keeps the older ones.

    Parameters
    ----------
    layer : str
        The first such layer.
    cores : int
        Cores of the relay neurons that would keep them.
    """

    def __init__(self, layer: str, cores: int) -> None:
        self.layer, self.cores = layer, cores
        super().__init__(
            f"Layer {layer!r} reads activations of unlike age. Pipelined samples would need relay neurons on "
            f"{cores} more cores, which are not built: let a sample enter when the one before has left."
        )


def pipelined(image: SystemImage, spiking: SpikingNetwork) -> SystemImage:
    """Return an image of the same network that takes a sample in every step.

    Raises
    ------
    UnpipelinedError
        If a layer reads what is not of one age.
    """
    depth = depths(spiking)
    uneven = next((layer.name for layer in spiking.layers if len(arrivals(layer, depth)) > 1), None)
    if uneven is not None:
        cores = sum(relays(spiking, image.spec.core).values())
        raise UnpipelinedError(uneven, cores)
    programs = tuple(None if core is None else _always(core) for core in image.cores)
    return image.replace(cores=programs, meta={**image.meta, "interval": 1})


def relays(spiking: SpikingNetwork, spec: CoreSpec) -> Mapping[str, int]:
    """Return by source the cores of relay neurons that would pass it on to all its readers in time.

    A relay neuron has one axon and one column, and holds an activation for a step.
    """
    depth = {INPUT: -1, **depths(spiking)}
    waits: dict[str, int] = {}
    for layer in spiking.layers:
        for source in layer.sources:
            steps = depth[layer.name] - depth[source.name] - 1
            waits[source.name] = max(waits.get(source.name, 0), steps)
    held = min(spec.axons, spec.columns)
    return {
        name: steps * -(-math.prod(spiking.shape(name)) // held) for name, steps in waits.items() if steps
    }


def _always(core: CoreImage) -> CoreImage:
    """Return the core with the entry of its schedule in which it fires, and no other."""
    fires = np.flatnonzero(columns_of(Section.SCHEDULE, core.schedule)["fire"])
    return replace(core, schedule=core.schedule[fires])
