# SPDX-License-Identifier: Apache-2.0
"""Convert a float network with ternary layers into a `SpikingNetwork` that equals it.

The method is the scatter-and-gather conversion of Zou et al. 2021 (Front. Neurosci. 15:694170): an
activation of k_rep levels becomes k_rep thresholds on one shared integer sum. Here every threshold is found
and proven with the network's own float64 arithmetic.
"""

from collections.abc import Mapping, Sequence

from mapping.codes.candidates import Candidate, find_candidates
from mapping.codes.layers import build_layer, overflow
from mapping.codes.obstacles import OUTSIDE, Fits, Obstacle, anything_fits
from mapping.codes.selection import Split, choose
from mapping.errors import UnsupportedModelError
from mapping.model.network import Network, Node
from mapping.model.rewrite import prepare
from mapping.model.work import multiply_adds
from mapping.spiking.network import INPUT, HostLayer, SpikingLayer, SpikingNetwork

__all__ = ["convert"]

_LAYERS = frozenset({"Conv", "Dense", "MaxPool"})
_QUANTISERS = frozenset({"Floor", "Quantise", "Round"})


def convert(network: Network, fits: Fits = anything_fits, *, strict: bool = False) -> SpikingNetwork:
    """Split a network into encoder, spiking layers and decoder, and prove the layers equal to it.

    On the chip runs, behind one quantised activation, the run of layers that leaves the fewest
    multiply-adds to the host; all other layers run on the host and are listed with the reason. The network
    of the result is the given one as `mapping.model.rewrite.prepare` writes it.

    Parameters
    ----------
    network : Network
        The trained network.
    fits : callable
        What keeps the chip from taking a layer, or None; by default it takes every one.
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
    split = choose(analysed, fitting, multiply_adds(analysed.network))
    if split is None:
        raise UnsupportedModelError(_nothing_to_run(obstacles, list(refused)))
    spiking = _network(analysed.network, split, layers, obstacles)
    if strict:
        _require_chip(spiking)
    return spiking


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
    obstacles: Mapping[str, Obstacle],
) -> SpikingNetwork:
    """Put the result together."""
    entry = split.entry
    names = {entry.output: INPUT} | {part.activation.output: part.name for part in split.run}
    on_chip = tuple(layers[part.name].reading(names[part.source.activation.output]) for part in split.run)
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
        host=_host(split, obstacles),
    )


def _host(split: Split, obstacles: Mapping[str, Obstacle]) -> tuple[HostLayer, ...]:
    """Return the layers of the host; an encoder without any is represented by its quantiser."""
    nodes = [node for node in split.host if node.op in _LAYERS]
    if not any(node.op in _LAYERS for node in split.encoder):
        nodes = [node for node in split.encoder if node.op in _QUANTISERS] + nodes
    return tuple(_host_layer(node, obstacles.get(node.name)) for node in nodes)


def _host_layer(node: Node, obstacle: Obstacle | None) -> HostLayer:
    if obstacle is not None:
        return HostLayer(name=node.name, reason=obstacle.reason, remedy=obstacle.remedy)
    pool = node.op == "MaxPool"
    reason = "it belongs to the encoder or the decoder" if pool else "it quantises the input"
    return HostLayer(name=node.name, reason=reason)


def _require_chip(spiking: SpikingNetwork) -> None:
    """Refuse a network whose host has products to add up; name a layer that cannot run on the chip."""
    work = multiply_adds(spiking.network)
    found = [layer for layer in spiking.host if work.get(layer.name)]
    if found:
        layer = next((layer for layer in found if layer.reason != OUTSIDE.reason), found[0])
        raise UnsupportedModelError(
            f"Layer {layer.name!r} would run on the host because {layer.reason}; {layer.remedy}, or leave "
            "strict out."
        )


def _nothing_to_run(obstacles: Mapping[str, Obstacle], refused: Sequence[str]) -> str:
    """Say what keeps a layer off the chip that is not the first or the last, where there is one."""
    if not obstacles:
        return (
            "The model has no convolution and no dense layer, so nothing can run on the chip; "
            "train with ternary weights and quantised activations before and after them."
        )
    named = [name for name, obstacle in obstacles.items() if "quantised by" in obstacle.reason]
    weights = [name for name, obstacle in obstacles.items() if obstacle.reason.startswith("its weights")]
    middle = list(refused[:1]) or named[:1] or weights or list(obstacles)
    first = middle[len(middle) > 2]
    reason, remedy = obstacles[first].reason, obstacles[first].remedy
    return f"No layer can run on the chip: layer {first!r} cannot because {reason}; {remedy}."
