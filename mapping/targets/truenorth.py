# SPDX-License-Identifier: Apache-2.0
"""TrueNorth in closed form (`docs/reference/targets.md`): cores, ticks and synaptic events.

The chip is that of Merolla et al. 2014, Science 345:668: a core has 256 axons, 256 neurons and a crossbar of
bits; a neuron has a strength for each of four types of axon and sends its spikes to one axon of one core; all
neurons are updated once a tick. Spikes that meet on an axon within a tick are one spike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from mapping.errors import InfeasibleError
from mapping.spiking.network import INPUT
from mapping.targets.energy import estimate_energy
from mapping.targets.fanout import most_readers
from mapping.targets.model import Cost, Counted, LayerCost, LayerWork, Pipelined, Work
from mapping.targets.patches import CoreLimits, LayerShape, PatchMapping, best_patch
from mapping.targets.target import Target

__all__ = ["COPIES", "TrueNorth"]

COPIES = ".copies"
"""What the name of the cores that copy a layer's spikes ends with."""


class TrueNorth:
    """The model `truenorth`: a layer takes a tick, and so do the cores that copy its spikes.

    A ternary weight takes two axons, one of strength +1 and one of -1, so an input is ``axons_per_input``
    axons. A neuron reaches one axon; an output that n axons read goes to a core that has n neurons for it.
    """

    unary = True
    patched = False

    def array(self, _: Target) -> None:
        """Return None: all layers are on cores of their own."""

    def cost(self, target: Target, work: Work) -> Cost:
        """Return what one inference costs; cores in use draw their power, others none."""

        def limits(layer: LayerShape, _: tuple[LayerShape, ...]) -> None:
            _cut(layer, target)

        counted = work.counted(limits)
        cuts = {layer.name: _cut(layer.shape, target) for layer in counted.layers}
        copies = {layer.name: _copies(layer, counted, cuts, target) for layer in counted.layers}
        layers = tuple(_placed(counted, cuts, copies, target))
        cores, steps = sum(part.cores for part in layers), max(part.step + part.steps for part in layers)
        tick = target.timing["tick"].si
        operations = _events(counted, copies)
        energy, flowing = (
            estimate_energy({"synaptic_events": operations}, seconds, cores, target.energy)
            for seconds in (steps * tick, tick)
        )
        chips = math.ceil(cores / target.count("cores_per_chip"))
        return Cost(
            cores=cores,
            chips=chips,
            steps=steps,
            step_s=tick,
            latency_s=steps * tick,
            throughput_per_s=1 / (steps * tick),
            operations=operations,
            energy=energy,
            area_mm2=chips * target.geometry["chip_area"].si,
            layers=layers,
            pipelined=Pipelined(throughput_per_s=1 / tick, latency_s=steps * tick, energy=flowing),
        )


def _cut(shape: LayerShape, target: Target) -> PatchMapping:
    """Return the patches of a layer; max-pools take nothing, because an axon merges what meets on it."""
    each, neurons = target.count("axons_per_input"), target.count("neurons")
    if shape.levels > neurons:
        raise InfeasibleError(
            layer=shape.name,
            limit="neurons for one output",
            demand=shape.levels,
            allowed=neurons,
            remedy="quantise its output to fewer levels",
        )
    axons = target.count("axons") // each
    cut = best_patch(shape, CoreLimits(axons=axons, columns=neurons, point_columns=shape.levels))
    if cut is None:
        raise InfeasibleError(
            layer=shape.name,
            limit="axons for one output",
            demand=each * math.prod(shape.taps) * shape.fan_in * shape.source_levels,
            allowed=target.count("axons"),
            remedy="give its neurons fewer inputs, by groups or smaller kernels, or quantise its input to "
            "fewer levels",
        )
    return cut


def _copies(layer: LayerWork, counted: Counted, cuts: Mapping[str, PatchMapping], target: Target) -> int:
    """Return how many axons, or the host, every spike of a layer goes to, at most."""
    axons, most = int(layer.output), target.count("neurons")
    for reader in counted.layers:
        if reader.source == layer.name:
            readers = most_readers(reader.shape, cuts[reader.name], reader.pools)
            axons += target.count("axons_per_input") * readers
    if axons > most:
        raise InfeasibleError(
            layer=layer.name,
            limit="axons that read one of its outputs",
            demand=axons,
            allowed=most,
            remedy="let the layers that read it have fewer outputs or fewer levels",
        )
    return axons


def _placed(
    counted: Counted,
    cuts: Mapping[str, PatchMapping],
    copies: Mapping[str, int],
    target: Target,
) -> list[LayerCost]:
    """Return cores and ticks of every layer, and of the cores that copy its spikes, in order."""
    placed, ready = [], {INPUT: 0}
    for layer in counted.layers:
        at = ready[layer.source]
        placed.append(_part(layer.name, cuts[layer.name].cores, at, target))
        if copies[layer.name] > 1:
            at += 1
            neurons = math.prod(layer.shape.output) * layer.shape.levels
            cores = math.ceil(neurons / (target.count("neurons") // copies[layer.name]))
            placed.append(_part(layer.name + COPIES, cores, at, target))
        ready[layer.name] = at + 1
    return placed


def _part(name: str, cores: int, step: int, target: Target) -> LayerCost:
    tick = target.timing["tick"].si
    return LayerCost(name=name, cores=cores, step=step, steps=1, begin_s=step * tick, end_s=(step + 1) * tick)


def _events(counted: Counted, copies: Mapping[str, int]) -> float:
    """Return the synaptic events of an inference: spikes times the bits that are set in their rows.

    Every level of an output is a neuron with the weights of the output; a spike that is copied to n axons
    meets n bits on its way.
    """
    events = sum(layer.logical * layer.shape.levels for layer in counted.layers)
    events += sum(layer.fired * copies[layer.name] for layer in counted.layers if copies[layer.name] > 1)
    return events / counted.samples
