# SPDX-License-Identifier: Apache-2.0
"""Whether the weights of a layer have the scale that they were trained with: try others and compare."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.load import Dataset, largest
from mapping.datasets.normalisation import clearly_better, with_chance
from mapping.datasets.rows import spread_rows
from mapping.diagnosis.input_trial import InputTrial, baseline
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import resume, run_single
from mapping.model.network import Network
from mapping.model.node import Node

__all__ = ["LayerScale", "ScaledLayer", "check_layer_scale"]

_FACTORS = (2.0, 0.5, 4.0, 0.25, 16.0, 0.0625)
_FEW = 64
"""Samples on which all layers and factors are tried."""
_FINALISTS = 8
_GAIN = 0.05
"""Accuracy that is gained at least: of so many layers and factors, one is a little better by chance."""

Right = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledLayer:
    """A layer, the factor of its weights, and the float network's accuracy with it."""

    layer: str
    factor: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScale(InputTrial[ScaledLayer]):
    """Other scales of layers that were tried on all samples, the most accurate first.

    ``alike`` are those of other layers that cannot be told from the better one.
    """

    alike: tuple[ScaledLayer, ...] = ()


def check_layer_scale(network: Network, data: Dataset, how: str) -> LayerScale | None:
    """Evaluate a float network on some samples with the weights of one layer times a factor.

    Parameters
    ----------
    network : Network
        The float network; it is evaluated in float32.
    data : Dataset
        Samples as they were loaded.
    how : str
        How they are scaled, as `mapping.datasets.load.scaled` chose it.

    Returns
    -------
    LayerScale or None
        None without labels, for events, and where so many samples are right that nothing could be clearly
        better.
    """
    given = baseline(network, data, how)
    if given is None:
        return None
    own = given.right
    few = spread_rows(_FEW)(len(own))
    tried = [
        (node, factor, int(right.sum()))
        for node in _layers(network)
        for factor, right in _right(network, node, given.x[few], given.y[few], _FACTORS)
    ]
    best = sorted((entry for entry in tried if entry[2] > own[few].sum()), key=lambda entry: -entry[2])
    found = []
    for node, factor, _ in best[:_FINALISTS]:
        ((_, right),) = _right(network, node, given.x, given.y, (factor,))
        found.append((ScaledLayer(layer=node.name, factor=factor, accuracy=float(right.mean())), right))
    found.sort(key=lambda entry: -entry[0].accuracy)
    better, alike = _clear(own, found, with_chance(given.y))
    candidates = tuple(layer for layer, _ in found)
    accuracy = float(own.mean())
    return LayerScale(samples=len(own), accuracy=accuracy, candidates=candidates, better=better, alike=alike)


def _clear(
    own: Right, found: list[tuple[ScaledLayer, Right]], enough: float
) -> tuple[ScaledLayer | None, tuple[ScaledLayer, ...]]:
    """Return the most accurate layer and factor if it is clearly better, and what may be meant instead."""
    least = max(enough, float(own.mean()) + _GAIN)
    if not found or found[0][0].accuracy < least or not clearly_better(own, found[0][1]):
        return None, ()
    better, most = found[0]
    others: dict[str, ScaledLayer] = {}
    for layer, right in found[1:]:
        if layer.layer != better.layer and not clearly_better(right, most, 1.0):
            others.setdefault(layer.layer, layer)
    return better, tuple(others.values())


def _layers(network: Network) -> Iterator[Node]:
    """Yield the layers of a network that have weights of their own: equal ones make an average."""
    for node in network.nodes:
        weight = node.constants.get("weight")
        if weight is not None and weight.min() < weight.max():
            yield node


def _right(
    network: Network, node: Node, x: NDArray[np.float64], y: NDArray[np.int64], factors: tuple[float, ...]
) -> Iterator[tuple[float, Right]]:
    """Yield which samples a network names rightly with the weights of a node times each factor.

    A bias is an operation of its own, so the sums are what is multiplied.
    """
    sums = np.asarray(run_single(network, x, [node.output])[node.output], np.float64)
    for factor in factors:
        values = {network.input: x, node.output: factor * sums}
        try:
            output = resume(network, values, [network.output])[network.output]
        except (UnsupportedModelError, ValueError):  # a value that is none, or no longer a number
            continue
        yield factor, np.asarray(largest(np.asarray(output, np.float64)) == y)
