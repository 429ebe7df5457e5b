# SPDX-License-Identifier: Apache-2.0
"""What is known of the tensors of a network: writers, readers, ranges, and which of them hold counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from mapping.model.activations import (
    MAX_LEVELS,
    ROUNDED,
    Activation,
    after,
    changes_nothing,
    one_scale,
    quantiser,
    recognise,
)
from mapping.model.network import Network, build_network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.elementwise import scalar
from mapping.model.operations.linear import is_pad
from mapping.model.operations.operation import UNBOUNDED, Range

__all__ = ["Analysed", "analyse", "rebuilt"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysed:
    """A network and what `analyse` found out about its tensors.

    Parameters
    ----------
    network : Network
        The network.
    producers, readers : mapping
        Tensor -> the node that writes it; tensor -> the nodes that read it, in topological order.
    ranges : mapping
        Tensor -> smallest and largest value it can hold.
    activations : mapping
        The quantised activations by the name of their tensor, in topological order.
    counts : mapping
        Tensor -> the activation whose values it holds: the activations themselves, what pools and reshapes
        make of them, and what operations leave as it is.
    """

    network: Network
    producers: Mapping[str, Node]
    readers: Mapping[str, tuple[Node, ...]]
    ranges: Mapping[str, Range]
    activations: Mapping[str, Activation]
    counts: Mapping[str, Activation]

    def rewritten(self, nodes: Sequence[Node]) -> "Analysed":
        """Return the network of other nodes with the same facts.

        The nodes must write to every tensor that stays the values that it had.
        """
        network = rebuilt(self.network, nodes)
        producers, readers = _links(network)
        ranges, activations, counts = (
            MappingProxyType({tensor: fact for tensor, fact in facts.items() if tensor in network.shapes})
            for facts in (self.ranges, self.activations, self.counts)
        )
        return Analysed(
            network=network,
            producers=producers,
            readers=readers,
            ranges=ranges,  # type: ignore[arg-type]
            activations=activations,  # type: ignore[arg-type]
            counts=counts,  # type: ignore[arg-type]
        )

    def explain(self, tensor: str) -> tuple[str, str]:
        """Return why a tensor holds no counts, as the end of a sentence about it, and what to do about it.

        Where the quantiser is not to blame the second text is empty.
        """
        node = self.producers.get(tensor)
        while node is not None and (_in_order(node) or is_pad(node)):
            node = self.producers.get(node.inputs[0])
        if node is None:
            return "is not a quantised activation", ""
        if node.op == "Quantise":
            reason, remedy = self._no_counts(node)
            return f"is quantised by {node.name!r} {reason}", remedy
        if (rounded := self._rounded(node)) is not None:
            reason, remedy = _no_levels(*self._steps(rounded))
            return f"is quantised by {rounded.name!r} {reason}", remedy
        made = _JOINED if len(node.inputs) == 2 else _MADE
        what = _MADE["Concat"] if node.op == "Concat" else made.get(node.op)
        return f"is {what}, not a quantised activation" if what else "is not a quantised activation", ""

    def _no_counts(self, node: Node) -> tuple[str, str]:
        """Return what keeps the values of a ``Quantise`` from being counts, and what would let them."""
        scale, zero_point = node.constants["scale"], node.constants["zero_point"]
        if not one_scale(node):
            return "with one scale per channel", "give its quantiser one scale for the whole tensor"
        if (zero_point != np.rint(zero_point)).any():
            return "with a zero point that is no integer", "give its quantiser an integer zero point"
        low, high = self.ranges[node.output]
        unit = float(scale.reshape(-1)[0])
        return _no_levels(low / unit, high / unit)

    def _rounded(self, node: Node) -> Node | None:
        """Return the ``Floor`` or ``Round`` whose whole numbers a node writes, clipped and scaled."""
        found: Node | None = node
        while found is not None and (found.op in {"Clip", "Relu"} or scalar(found) is not None):
            found = self.producers.get(found.inputs[0])
        return found if found is not None and found.op in ROUNDED else None

    def _steps(self, rounded: Node) -> Range:
        """Return the smallest and largest whole number that clips leave of those that a node rounds to."""
        ends = [
            tuple(end / scale for end in self.ranges[nodes[-1].output if nodes else rounded.output])
            for nodes, scale in after(rounded, self.readers, self.network.output)
        ]
        return max(low for low, _ in ends), min(high for _, high in ends)


def _no_levels(low: float, high: float) -> tuple[str, str]:
    """Return why the whole numbers from low to high are no counts, and what would let them."""
    if low < 0:
        return "to values that may be negative", "put a Relu before its quantiser"
    if high < 0.5:
        return "to zero alone", "give its quantiser a smaller scale"
    if high > MAX_LEVELS:
        return f"to more than {MAX_LEVELS} levels", "put a Clip to fewer levels before its quantiser"
    return "to values that are no counts times one scale", "write it as QuantizeLinear and DequantizeLinear"


_JOINED = {"Add": "the sum of two tensors", "Mul": "the product of two tensors"}
_MADE = {
    "Concat": "several tensors joined",
    "Permute": "a tensor in another order",
    "Take": "a part of a tensor",
}


def _in_order(node: Node) -> bool:
    """Tell whether a node writes values that it reads, in the order in which it reads them."""
    return OPERATIONS[node.op].selects and "order" not in node.constants


def _keeps(node: Node, source: Activation) -> bool:
    """Tell whether a node writes none but values of the activation that it reads."""
    return OPERATIONS[node.op].selects or is_pad(node) or changes_nothing(node, source)


def rebuilt(network: Network, nodes: Iterable[Node]) -> Network:
    """Return a network of other nodes between the same input and output."""
    return build_network(
        list(nodes),
        name=network.name,
        input_name=network.input,
        input_shape=network.shapes[network.input],
        output_name=network.output,
        classes=network.classes,
        whole=network.whole,
    )


def _links(network: Network) -> tuple[Mapping[str, Node], Mapping[str, tuple[Node, ...]]]:
    """Return the writer and the readers of every tensor."""
    readers: dict[str, tuple[Node, ...]] = dict.fromkeys(network.shapes, ())
    for node in network.nodes:
        for tensor in dict.fromkeys(node.inputs):
            readers[tensor] += (node,)
    return MappingProxyType({node.output: node for node in network.nodes}), MappingProxyType(readers)


@lru_cache(maxsize=8)
def analyse(network: Network) -> Analysed:
    """Find out what the tensors of a network hold; networks seen lately are remembered."""
    producers, readers = _links(network)
    ranges: dict[str, Range] = {network.input: UNBOUNDED}
    activations: dict[str, Activation] = {}
    for node in network.nodes:
        low, high = ranges[node.output] = OPERATIONS[node.op].interval(
            node, [ranges[tensor] for tensor in node.inputs]
        )
        found = None
        if node.op == "Quantise":
            found = quantiser(node, low, high)
        elif node.op in ROUNDED:
            found = recognise(node, readers, network.output, (low, high))
        if found is not None:
            activations[found.output] = found
    return Analysed(
        network=network,
        producers=producers,
        readers=readers,
        ranges=MappingProxyType(ranges),
        activations=MappingProxyType(activations),
        counts=MappingProxyType(_counts(network, activations)),
    )


def _counts(network: Network, activations: Mapping[str, Activation]) -> dict[str, Activation]:
    counts: dict[str, Activation] = {}
    for node in network.nodes:
        source = counts.get(node.inputs[0])
        if node.output in activations:
            counts[node.output] = activations[node.output]
        elif source is not None and _keeps(node, source):
            counts[node.output] = source
    return counts
