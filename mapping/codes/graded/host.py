# SPDX-License-Identifier: Apache-2.0
"""What the host does around the activations on the chip, and the cut that leaves it the least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.rules_places import AT_ROOT
from mapping.codes.graded.structure import Structure
from mapping.codes.obstacles import OUTSIDE, Holds, Obstacle
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
    network: Network,
    cuts: Iterable[Structure],
    refused: Mapping[str, Obstacle],
    *,
    otherwise: Callable[[Mapping[str, str]], str],
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
    otherwise : callable
        Given why operations are the host's, by their names: why there is no activation at all, where no
        tensor was refused.

    Raises
    ------
    UnsupportedModelError
        If no cut has an activation.
    """
    work = multiply_adds(network)
    best: tuple[float, Structure] | None = None
    reasons: dict[str, str] = {}
    for structure in cuts:
        reasons = {**structure.refused, **reasons}
        if not structure.points:
            continue
        left = sum(work.get(node.name) or 0 for node in _host_nodes(network, structure))
        if best is None or left < best[0]:
            best = (left, structure)
        if left == 0:
            break
    if best is None:
        told = next(iter(refused.values()), None)
        what = otherwise(reasons) if told is None else f"{told.reason}; {told.remedy}"
        raise UnsupportedModelError(f"No layer of {network.name!r} can run on the chip: {what}.")
    before = {node.name for node in needed_nodes(network, [network.input], [best[1].root])}
    told_of = {name: why for name, why in reasons.items() if why != AT_ROOT or name in before}
    return replace(best[1], refused={**told_of, **best[1].refused})


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
        why = {node.name: self._why(node) for node in host}
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
                HostLayer(name=name, reason=told.reason, remedy=told.remedy, share=share.get(name, 0.0))
                for name, told in why.items()
            ),
            code=code,
        )

    def _why(self, node: Node) -> Obstacle:
        """Return what keeps a node on the host: its own, or that of the nearest between it and the chip."""
        own = self._own(node)
        if own is not None:
            return own
        network, root = self.whole, self.structure.root
        encoder = needed_nodes(network, [network.input], [root])
        enters = node in encoder
        near, seen = [node], {node.name}
        for at in near:  # grows
            next_ = network.consumers(at.output) if enters else _producers(network, at)
            for other in next_:
                if other.name in seen or (enters and other not in encoder):
                    continue
                found = self._own(other)
                if found is not None:
                    side = "behind" if enters else "before"
                    return replace(found, reason=f"{other.name!r} {side} it is the host's: {found.reason}")
                near.append(other)
                seen.add(other.name)
        return OUTSIDE

    def _own(self, node: Node) -> Obstacle | None:
        obstacle, reason = self.refused.get(node.output), self.structure.refused.get(node.name)
        if obstacle is None and reason is not None:
            return Obstacle(reason=reason, remedy=_LEFT)
        return obstacle


def _producers(network: Network, node: Node) -> list[Node]:
    found = (network.producer(tensor) for tensor in node.inputs)
    return [before for before in found if before is not None]


def _used(layers: list[SpikingLayer], read: frozenset[str]) -> set[str]:
    """Return the names of the layers that the decoder needs."""
    used: set[str] = set()
    for layer in reversed(layers):
        if layer.activation in read or layer.name in used:
            used |= {layer.name, *(source.name for source in layer.sources)}
    return used
