# SPDX-License-Identifier: Apache-2.0
"""Convert a float network with ternary layers into a `SpikingNetwork` that equals it.

The method is the scatter-and-gather conversion of Zou et al. 2021 (Front. Neurosci. 15:694170): an
activation of k_rep levels becomes k_rep thresholds on one shared integer sum. Here every threshold is found
and proven with the network's own float64 arithmetic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mapping.codes.candidates import Candidate, find_candidates
from mapping.codes.layers import build_layer, overflow
from mapping.codes.obstacles import OUTSIDE, Fits, Holds, Obstacle, anything_fits, anything_holds
from mapping.codes.selection import Split, splits
from mapping.errors import UnsupportedModelError
from mapping.model.analysis import Analysed
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.rewrite import prepare
from mapping.model.work import multiply_adds, shares
from mapping.spiking.network import INPUT, HostLayer, SpikingLayer, SpikingNetwork

__all__ = ["convert"]

_LAYERS = frozenset({"Conv", "Dense", "Foreign", "MaxPool"})
_QUANTISERS = frozenset({"Floor", "Quantise", "Round"})


def convert(
    network: Network, fits: Fits = anything_fits, *, holds: Holds = anything_holds, strict: bool = False
) -> SpikingNetwork:
    """Split a network into encoder, spiking layers and decoder, and prove the layers equal to it.

    On the chip runs, behind one quantised activation, the run of layers that leaves the fewest
    multiply-adds to the host among those that the chip holds; all other layers run on the host and are
    listed with the reason. The network of the result is the given one as `mapping.model.rewrite.prepare`
    writes it.

    Parameters
    ----------
    network : Network
        The trained network.
    fits : callable
        What keeps a core from taking a layer, or None; by default it takes every one.
    holds : callable
        Why the chip cannot take the layers of a network together, by name; by default it takes all. The
        last network that it is asked about is the result.
    strict : bool
        Refuse a network with convolutions or dense layers on the host.

    Raises
    ------
    UnsupportedModelError
        If no layer can run on the chip, or with ``strict`` not all; the sentence names an obstacle and
        the way out.
    MappingError
        If the thresholds of a layer fail their proof.
    """
    analysed = prepare(network)
    candidates, obstacles = find_candidates(analysed)
    layers: dict[str, SpikingLayer] = {}
    refused: dict[str, Obstacle] = {}
    for candidate in candidates:
        layer, obstacle = _try(candidate, analysed.network, fits)
        if layer is None:
            refused.setdefault(candidate.linear.name, obstacle)
        else:
            layers[candidate.name] = layer
    obstacles |= {part.linear.name: OUTSIDE for part in candidates} | refused
    fitting = [part for part in candidates if part.name in layers]
    split, left = _first_that_holds(analysed, fitting, layers, holds)
    crowded = {part.linear.name: left[part.name] for part in fitting if part.name in left}
    obstacles |= crowded
    if split is None:
        raise UnsupportedModelError(_nothing_to_run(network, obstacles, [*refused, *crowded]))
    spiking = _network(analysed.network, split, layers)
    off = [part for part in fitting if part.name in left and part not in split.run]
    share = shares(analysed.network)
    spiking = replace(
        spiking,
        host=_host(split, obstacles, share),
        left=tuple(
            replace(_host_layer(part.linear, left[part.name], share.get(part.linear.name)), name=part.name)
            for part in off
        ),
    )
    if strict:
        _require_chip(spiking)
    return spiking


def _first_that_holds(
    analysed: Analysed, fitting: Sequence[Candidate], layers: Mapping[str, SpikingLayer], holds: Holds
) -> tuple[Split | None, dict[str, Obstacle]]:
    """Return the best split that the chip holds, and by candidate why it does not hold better ones."""
    left: dict[str, Obstacle] = {}
    for split in splits(analysed, fitting, multiply_adds(analysed.network)):
        found = holds(_network(analysed.network, split, layers))
        if not found:
            return split, left
        left = {**found, **left}
    return None, left


def _try(part: Candidate, network: Network, fits: Fits) -> tuple[SpikingLayer | None, Obstacle]:
    """Return the layer of a candidate as the input's reader, or what keeps it on the host."""
    obstacle = overflow(part)
    if obstacle is not None:
        return None, obstacle
    layer = build_layer(part, network, INPUT)
    obstacle = fits(layer)
    return (layer, OUTSIDE) if obstacle is None else (None, obstacle)


def _network(
    network: Network,
    split: Split,
    layers: Mapping[str, SpikingLayer],
) -> SpikingNetwork:
    """Put the layers of a split together, without what runs on the host."""
    entry = split.entry
    names = {entry.output: INPUT} | {part.activation.output: part.name for part in split.run}
    on_chip = tuple(
        layers[part.name].reading({INPUT: names[part.source.activation.output]}) for part in split.run
    )
    read = {network.output, *(tensor for node in split.decoder for tensor in node.inputs)}
    return SpikingNetwork(
        name=network.name,
        network=network,
        encoder_output=entry.output,
        input_levels=entry.levels,
        input_scale=entry.scale,
        layers=on_chip,
        outputs=tuple(layer.name for layer in on_chip if layer.activation in read),
        decoder_reads_input=entry.output in read,
        decoder_reads_data=network.input in read,
        host=(),
    )


def _host(
    split: Split, obstacles: Mapping[str, Obstacle], share: Mapping[str, float | None]
) -> tuple[HostLayer, ...]:
    """Return the layers of the host; an encoder without any is represented by its quantiser."""
    nodes = [node for node in split.host if node.op in _LAYERS]
    if not any(node.op in _LAYERS for node in split.encoder):
        nodes = [node for node in split.encoder if node.op in _QUANTISERS] + nodes
    nodes = list({node.name: node for node in nodes}.values())
    return tuple(_host_layer(node, obstacles.get(node.name), share.get(node.name, 0.0)) for node in nodes)


def _host_layer(node: Node, obstacle: Obstacle | None, share: float | None) -> HostLayer:
    if obstacle is not None:
        return HostLayer(name=node.name, reason=obstacle.reason, remedy=obstacle.remedy, share=share)
    if node.op == "Foreign":
        reason = f"the operator {node.text('operator')} runs on no chip"
    else:
        pool = node.op == "MaxPool"
        reason = "it belongs to the encoder or the decoder" if pool else "it quantises the input"
    return HostLayer(name=node.name, reason=reason, share=share)


def _require_chip(spiking: SpikingNetwork) -> None:
    """Refuse a network whose host has products to add up, or may have; name a layer that cannot leave it."""
    foreign = {node.name for node in spiking.network.nodes if node.op == "Foreign"}
    found = [layer for layer in spiking.host if layer.share != 0.0 or layer.name in foreign]
    if found:
        layer = next((layer for layer in found if layer.reason != OUTSIDE.reason), found[0])
        ways = f"{layer.remedy}, or leave strict out" if layer.remedy else "leave strict out"
        raise UnsupportedModelError(
            f"Layer {layer.name!r} would run on the host because {layer.reason}; {ways}."
        )


def _no_layer(network: Network) -> str:
    """Say that a network has no layer with weights, and what operator stands in their place, if one does."""
    told = "The model has no convolution and no dense layer, so nothing can run on the chip"
    work = multiply_adds(network)
    foreign = [node for node in network.nodes if node.op == "Foreign"]
    if not foreign:
        return f"{told}; give a model with such layers."
    most = max(foreign, key=lambda node: work.get(node.name, 0) or 0)
    return (
        f"{told}: no neuron computes node {most.name!r} ({most.text('operator')}); put convolutions or dense "
        "layers in its place or behind it."
    )


def _nothing_to_run(network: Network, obstacles: Mapping[str, Obstacle], refused: Sequence[str]) -> str:
    """Say what keeps a layer off the chip that is not the first or the last, where there is one."""
    if not obstacles:
        return _no_layer(network)
    named = [name for name, obstacle in obstacles.items() if "quantised by" in obstacle.reason]
    weights = [name for name, obstacle in obstacles.items() if obstacle.reason.startswith("its weights")]
    middle = list(refused[:1]) or named[:1] or weights or list(obstacles)
    first = middle[len(middle) > 2]
    reason, remedy = obstacles[first].reason, obstacles[first].remedy
    return f"No layer can run on the chip: layer {first!r} cannot because {reason}; {remedy}."
