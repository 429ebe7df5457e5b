# SPDX-License-Identifier: Apache-2.0
"""Prove that an image computes a network: follow every packet, compare every synapse, threshold and step.

The check reads the network and the image and shares no code with what made the one from the other: paths
follow `docs/reference/network.md`, and what a core must hold comes from the layer's own index arithmetic.
A contract of the import linter keeps it so.
"""

from collections.abc import Iterator, Sequence

from emu.image import SystemImage
from mapping.errors import MappingError
from mapping.layout.check.arrivals import deliveries_of, list_violations, output_violations
from mapping.layout.check.cells import Crossbars
from mapping.layout.check.frame import Frame
from mapping.layout.check.layers import LayerRule
from mapping.layout.check.neurons import neuron_violations
from mapping.layout.check.synapses import Feeds, Synapses, feeds_of
from mapping.layout.check.tables import Placed, placed_cores, table_violations
from mapping.layout.check.twins import Twins, likeness
from mapping.layout.check.violation import KINDS, Violation
from mapping.spiking.network import SpikingLayer, SpikingNetwork

__all__ = ["KINDS", "Violation", "check", "require"]


def check(image: SystemImage, spiking: SpikingNetwork) -> list[Violation]:
    """Return every way in which an image differs from its network; an empty list is a proof.

    Parameters
    ----------
    image : SystemImage
        An image made by `mapping.layout.emit.emit`.
    spiking : SpikingNetwork
        The network it must compute.
    """
    frame = Frame.of(spiking, pipelined="interval" in image.meta)
    return list(table_violations(image, frame)) or list(_violations(image, frame))


def require(image: SystemImage, spiking: SpikingNetwork) -> None:
    """Do nothing if `check` finds nothing.

    Raises
    ------
    MappingError
        With the first violation and their number.
    """
    found = check(image, spiking)
    if found:
        raise MappingError(
            f"The image differs from its network in {len(found)} places, the first is {found[0]}; "
            "compile the model again."
        )


def _violations(image: SystemImage, frame: Frame) -> Iterator[Violation]:
    """Compare everything that the tables tell apart."""
    cores = placed_cores(image)
    yield from list_violations(cores)
    deliveries, lost = deliveries_of(image, frame, cores)
    yield from lost
    yield from output_violations(frame, deliveries.take(len(frame.spiking.layers)))
    for order, layer in enumerate(frame.spiking.layers):
        own = [core for core in cores if core.layer == order]
        feeds = feeds_of(frame, layer, deliveries.take(order))
        each = feeds.split([deliveries.head(core.index) for core in own])
        yield from _layer_violations(image, frame, layer, own, each)


def _layer_violations(
    image: SystemImage, frame: Frame, layer: SpikingLayer, cores: list[Placed], feeds: Sequence[Feeds]
) -> Iterator[Violation]:
    """Compare the cores of one layer: those that share a crossbar after each other, told in their order.

    A core like one that was found sound is not looked at again.
    """
    rule, crossbars, twins = LayerRule(layer), Crossbars(), Twins()
    outlines = [rule.outline(core.elements) for core in cores]
    classes = {id(core.core.crossbar): order for order, core in reversed([*enumerate(cores)])}
    every = sorted(
        zip(cores, outlines, feeds, strict=True),
        key=lambda one: (one[1].channels, classes[id(one[0].core.crossbar)]),
    )
    found: dict[int, list[Violation]] = {}
    for core, outline, own in every:
        crossbar = crossbars.of(core.core)
        like = None if own.plain is None else likeness(core.core, crossbar, outline, own.plain)
        if like is not None and twins.has(crossbar, outline, like):
            continue
        block = rule.block(outline)
        synapses = Synapses(
            layer=layer, index=core.index, core=core.core, block=block, feeds=own, crossbar=crossbar
        )
        neurons = neuron_violations(frame, core, block, image.spec.core)
        found[core.index] = [*synapses.violations(frame), *neurons]
        if like is not None and not found[core.index]:
            twins.add(outline, like)
    for core in cores:
        yield from found.get(core.index, ())
