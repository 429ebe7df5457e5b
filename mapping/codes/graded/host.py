# SPDX-License-Identifier: Apache-2.0
"""What the host does around the activations on the chip, and the cut that leaves it the least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.structure import Structure
from mapping.codes.obstacles import Holds, Obstacle
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import needed_nodes
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.work import multiply_adds, shares
from mapping.spiking.network import HostLayer, SpikingLayer, SpikingNetwork

__all__ = ["Surroundings", "host_reads", "least_host", "settled"]

_LAYERS = frozenset({"Conv", "Dense", "Foreign", "MaxPool"})
_LEFT = "let an operator that the chip has take its place"


Attempt = Callable[[Mapping[str, Obstacle]], "SpikingNetwork | Mapping[str, Obstacle]"]
"""Convert, given which tensors must not be computed on the chip and why; else return which more."""


def settled(attempt: Attempt, holds: Holds, *, strict: bool) -> SpikingNetwork:
    """Convert again, with what stood in the way left to the host, until nothing does.

    Parameters
    ----------
    attempt : callable
        Given what is refused, gives a network or what stands in its way.
    holds, strict
        As of `mapping.codes.convert.convert`.

    Raises
    ------
    UnsupportedModelError
        With ``strict``, if not all layers can run on the chip.
    """
    refused: dict[str, Obstacle] = {}
    while True:
        found = attempt(refused)
        if isinstance(found, SpikingNetwork):
            spiking = found
            obstacles = {spiking.layer(name).activation: why for name, why in holds(spiking).items()}
            if not obstacles:
                break
        else:
            obstacles = dict(found)
        refused |= {tensor: why for tensor, why in obstacles.items() if tensor not in refused}
    if strict and spiking.host_share != 0:
        first = spiking.host[0]
        raise UnsupportedModelError(
            f"Layer {first.name!r} would run on the host because {first.told}, or leave strict out."
        )
    return spiking


def _host_nodes(network: Network, structure: Structure) -> tuple[Node, ...]:
    """Return what the host computes: up to the root, and behind the last activations."""
    encoder = needed_nodes(network, [network.input], [structure.root])
    return tuple(dict.fromkeys((*encoder, *_decoder(network, structure))))


def host_reads(network: Network, structure: Structure) -> frozenset[str]:
    """Return the tensors that the host reads behind the chip, and the output."""
    decoder = _decoder(network, structure)
    return frozenset({network.output, *(tensor for node in decoder for tensor in node.inputs)})


def _decoder(network: Network, structure: Structure) -> tuple[Node, ...]:
    given = [network.input, structure.root, *structure.points]
    return tuple(needed_nodes(network, given, [network.output]))


def least_host(
    network: Network, cuts: Iterable[Structure], refused: Mapping[str, Obstacle], *, otherwise: str
) -> Structure:
    """Return the cut that leaves the least work to the host; the earliest of equal ones.

    Parameters
    ----------
    network : Network
        The network.
    cuts : iterable of Structure
        What may run on the chip; no further one is asked for when nothing is left to the host.
    refused : mapping
        Tensor -> why it must not be computed on the chip.
    otherwise : str
        Why there is no activation at all, where nothing was refused.

    Raises
    ------
    UnsupportedModelError
        If no cut has an activation.
    """
    work = multiply_adds(network)
    best: tuple[float, Structure] | None = None
    for structure in cuts:
        if not structure.points:
            continue
        left = sum(work.get(node.name) or 0 for node in _host_nodes(network, structure))
        if best is None or left < best[0]:
            best = (left, structure)
        if left == 0:
            break
    if best is None:
        told = next(iter(refused.values()), None)
        what = otherwise if told is None else f"{told.reason}; {told.remedy}"
        raise UnsupportedModelError(f"No layer of {network.name!r} can run on the chip: {what}.")
    return best[1]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A float network, its activations on the chip, and why tensors were refused."""

    whole: Network
    structure: Structure
    refused: Mapping[str, Obstacle]

    def network(self, layers: list[SpikingLayer], grid: Grid, code: str) -> SpikingNetwork:
        """Return the network of some layers, with what the host does."""
        network, structure = self.whole, self.structure
        read = host_reads(network, structure)
        used = _used(layers, read)
        kept = [layer for layer in layers if layer.name in used]
        share = shares(network)
        host = [node for node in _host_nodes(network, structure) if node.op in _LAYERS]
        return SpikingNetwork(
            name=network.name,
            network=network,
            encoder_output=structure.root,
            input_levels=grid.high,
            input_low=grid.low,
            input_scale=grid.scale,
            layers=tuple(kept),
            outputs=tuple(layer.name for layer in kept if layer.activation in read),
            decoder_reads_input=structure.root in read and structure.root != network.input,
            decoder_reads_data=network.input in read,
            host=tuple(
                _host_layer(node, structure, self.refused, share.get(node.name, 0.0)) for node in host
            ),
            code=code,
        )


def _used(layers: list[SpikingLayer], read: frozenset[str]) -> set[str]:
    """Return the names of the layers that the decoder needs."""
    used: set[str] = set()
    for layer in reversed(layers):
        if layer.activation in read or layer.name in used:
            used |= {layer.name, *(source.name for source in layer.sources)}
    return used


def _host_layer(
    node: Node, structure: Structure, refused: Mapping[str, Obstacle], share: float | None
) -> HostLayer:
    obstacle = refused.get(node.output)
    if obstacle is not None:
        return HostLayer(name=node.name, reason=obstacle.reason, remedy=obstacle.remedy, share=share)
    reason = structure.refused.get(node.name)
    if reason is None:
        return HostLayer(name=node.name, reason="it lies beyond what the chip can compute", share=share)
    return HostLayer(name=node.name, reason=reason, remedy=_LEFT, share=share)
