# SPDX-License-Identifier: Apache-2.0
"""Find the layers of a float network that the chip's neurons can compute, and say what keeps the others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.codes.obstacles import Obstacle
from mapping.model.activations import ROUNDED, Activation
from mapping.model.analysis import Analysed
from mapping.model.node import Node
from mapping.model.operations import MOVES, rises
from mapping.model.operations.elementwise import by_channel
from mapping.model.operations.linear import magnitudes
from mapping.model.operations.sums import lowest_bit
from mapping.spiking.network import INPUT, Pool

__all__ = ["Candidate", "Source", "find_candidates"]

_CHAIN = frozenset({"Add", "BatchNormalization", "Clip", "Div", "Mul", "Quantise", "Relu"})
_LINEAR = frozenset({"Conv", "Dense"})
_NEARLY = 1e-4  # share of the largest weight that rounding explains, not training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Where a linear node's input comes from: an activation, of the shape it is pooled in, through pools."""

    activation: Activation
    shape: tuple[int, ...]
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A linear node and one quantised activation of its output, which neurons of the chip can compute.

    ``chain`` leads from the linear node to the activation; ``ternary`` are the digits of the weights and
    ``magnitude`` (rows,) what a digit of one stands for.
    """

    name: str
    linear: Node
    chain: tuple[Node, ...]
    activation: Activation
    source: Source
    ternary: NDArray[np.int8]
    magnitude: NDArray[np.float64]


def find_candidates(analysed: Analysed) -> tuple[list[Candidate], dict[str, Obstacle]]:
    """Return every candidate in topological order, and by name what keeps each other linear node."""
    chains = [(_chain(activation, analysed), activation) for activation in analysed.activations.values()]
    found: list[Candidate] = []
    obstacles: dict[str, Obstacle] = {}
    used = {INPUT}
    for linear in analysed.network.nodes:
        if linear.op not in _LINEAR:
            continue
        source = _source(linear, analysed)
        ends = [(chain[1:], end) for chain, end in chains if chain and chain[0] is linear]
        obstacle = _obstacle(linear, source, analysed, ends=bool(ends))
        if obstacle is not None or source is None:
            obstacles[linear.name] = obstacle or _unquantised(linear, analysed)
            continue
        weight = linear.constants["weight"]
        size = magnitudes(weight)
        for chain, end in ends:
            name = linear.name if linear.name not in used else f"{linear.name}:{end.output}"
            used.add(name)
            found.append(
                Candidate(
                    name=name,
                    linear=linear,
                    chain=tuple(chain),
                    activation=end,
                    source=source,
                    ternary=np.sign(weight).astype(np.int8),
                    magnitude=np.abs(weight).reshape(len(weight), -1).max(axis=1) if size is None else size,
                )
            )
    return found, obstacles


def _chain(activation: Activation, analysed: Analysed) -> list[Node]:
    """Return the nodes from a linear one to an activation; empty if another operation is between."""
    nodes: list[Node] = []
    node = analysed.producers.get(activation.output)
    while node is not None and len(node.inputs) == 1:
        nodes.append(node)
        if node.op in _LINEAR:
            return nodes[::-1]
        if not _folds(node) and node.output != activation.rounded:
            return []
        node = analysed.producers.get(node.inputs[0])
    return []


def _folds(node: Node) -> bool:
    """Tell whether thresholds can stand for an operation: monotone to the last bit, channel by channel."""
    return by_channel(node) and (node.op in _CHAIN or (node.op == "PRelu" and rises(node)))


def _source(linear: Node, analysed: Analysed) -> Source | None:
    """Walk back through pools and reshapes to a quantised activation."""
    pools: list[Pool] = []
    shapes = analysed.network.shapes
    tensor, shape = linear.inputs[0], shapes[linear.inputs[0]]
    while tensor not in analysed.activations:
        node = analysed.producers.get(tensor)
        if node is None or node.op not in (MOVES - {"Permute"}) | {"MaxPool"}:
            return None
        tensor = node.inputs[0]
        if node.op == "MaxPool":
            if pools and shapes[node.output] != shape:
                return None  # a reshape between two pools
            pools.append(Pool(kernel=node.pair("kernel"), stride=node.pair("stride"), pads=node.pads()))
            shape = shapes[tensor]
    return Source(activation=analysed.activations[tensor], shape=shape, pools=tuple(reversed(pools)))


def _obstacle(linear: Node, source: Source | None, analysed: Analysed, *, ends: bool) -> Obstacle | None:
    """Return what keeps a linear node on the host, whatever the chip."""
    weight = linear.constants["weight"]
    size = magnitudes(weight)
    if size is None:
        return _not_ternary(weight)
    if source is None:
        return _unquantised(linear, analysed)
    if _inexact(weight, size, source.activation.levels):
        reason = "its weights have too many digits for exact sums in float64"
        return Obstacle(reason=reason, remedy="store its weights as float32")
    return None if ends else _no_end(linear, analysed)


def _inexact(weight: NDArray[np.float64], size: NDArray[np.float64], levels: int) -> bool:
    """Tell whether magnitude times integer sum may need more than the 53 bits of float64."""
    largest = np.count_nonzero(weight.reshape(len(weight), -1), axis=1) * levels
    bits = np.ldexp(size, -np.minimum(lowest_bit(size[:, None], axis=1), 1000))
    return bool((bits * largest >= 2.0**53).any())


def _not_ternary(weight: NDArray[np.float64]) -> Obstacle:
    """Say what is wrong with weights; training code often leaves w + (ternary - w), which rounding moves."""
    rows = np.abs(weight.reshape(len(weight), -1))
    largest = rows.max(axis=1, keepdims=True)
    miss = np.minimum(rows, largest - rows) / np.where(largest > 0, largest, 1.0)
    if miss.max() < _NEARLY:
        return Obstacle(
            reason=f"its weights miss -a, 0 and a by up to {miss.max():.1g} a",
            remedy="store the ternary values themselves",
        )
    return Obstacle(
        reason="its weights are not -a, 0 and a with one a per output channel",
        remedy="train it with ternary weights",
    )


def _unquantised(linear: Node, analysed: Analysed) -> Obstacle:
    """Say why what a linear node reads is no quantised activation."""
    reason, remedy = analysed.explain(linear.inputs[0])
    return Obstacle(reason=f"its input {reason}", remedy=remedy or "put a quantiser before it")


def _no_end(linear: Node, analysed: Analysed) -> Obstacle:
    """Say why no quantised activation follows a linear node, by the first quantiser or join behind it."""
    tensor, passed = linear.output, list[Node]()
    behind = "put a quantiser directly behind it"
    while len(readers := analysed.readers[tensor]) == 1 and readers[0].op not in _LINEAR:
        (node,) = readers
        if len(node.inputs) > 1:
            reason = f"its output goes into {node.name!r} ({node.op}) before it is quantised"
            return Obstacle(reason=reason, remedy=behind)
        tensor = node.output
        passed.append(node)
        if (activation := analysed.activations.get(tensor)) is not None:
            barrier = next(n for n in passed if not _folds(n) and n.output != activation.rounded)
            reason = f"its output passes {barrier.name!r} ({barrier.op}) before it is quantised"
            return Obstacle(reason=reason, remedy=behind)
        known = any(activation.rounded == tensor for activation in analysed.activations.values())
        if node.op in ROUNDED | {"Quantise"} and not known:
            reason, remedy = analysed.explain(tensor)
            return Obstacle(reason=f"its output {reason}", remedy=remedy or behind)
    return Obstacle(reason="its output does not end in a quantised activation", remedy=behind)
