# SPDX-License-Identifier: Apache-2.0
"""Whether the weights of a layer have the scale that they were trained with: try others and compare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.cross_entropy import clearly_less, cross_entropies
from mapping.datasets.load import MORE_SAMPLES, Dataset, scaled
from mapping.datasets.named import largest
from mapping.datasets.normalisation import clearly_better, with_chance
from mapping.datasets.rows import spread_rows
from mapping.diagnosis.input_trial import Baseline, InputTrial, baseline
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import resume, run_single
from mapping.model.network import Network
from mapping.model.node import Node

__all__ = ["LayerScale", "ScaledLayer", "check_layer_scale"]

_FACTORS = (2.0, 0.5, 4.0, 0.25, 16.0, 0.0625)
_NEAR = (2.0**0.5, 0.5**0.5)
"""Factors that only the cross-entropy can tell from 1, beside the others."""
_FEW = 64
"""Samples on which all layers and factors are tried."""
_FINALISTS = 8
_GAIN = 0.05
"""Accuracy that is gained at least: of so many layers and factors, one is a little better by chance."""
_ALIKE = 2.0
"""Deviations within which two cross-entropies are not told apart."""

Right = NDArray[np.bool_]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledLayer:
    """A layer, the factor of its weights, and the float network's accuracy and cross-entropy with it."""

    layer: str
    factor: float
    accuracy: float
    cross_entropy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScale(InputTrial[ScaledLayer]):
    """Other scales of layers that were tried on all samples, the most accurate first.

    ``alike`` are those of other layers that cannot be told from the better one. ``cross_entropy`` is that of
    the network as it is, where it shows what the accuracy does not.
    """

    alike: tuple[ScaledLayer, ...] = ()
    cross_entropy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A layer with a factor on few samples: how many are right, and their mean cross-entropy."""

    node: Node
    factor: float
    right: int
    cross_entropy: float


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
    x, y = given.x[few], given.y[few]
    tried = [
        _Tried(node=node, factor=factor, right=int(_rights(outputs, y).sum()), cross_entropy=entropy)
        for node in _layers(network)
        for factor, outputs in _outputs(network, node, x, (*_FACTORS, *_NEAR))
        for entropy in (float(cross_entropies(outputs, y).mean()),)
    ]
    found = _by_accuracy(network, given, [entry for entry in tried if entry.factor in _FACTORS], few)
    return found if found.better is not None else _by_cross_entropy(network, data, how, tried) or found


def _by_accuracy(
    network: Network, given: Baseline, tried: Sequence[_Tried], few: NDArray[np.int64]
) -> LayerScale:
    """Return the layer and factor with which clearly more answers are right."""
    own = given.right
    best = sorted((entry for entry in tried if entry.right > own[few].sum()), key=lambda entry: -entry.right)
    found = []
    for entry in best[:_FINALISTS]:
        ((factor, outputs),) = _outputs(network, entry.node, given.x, (entry.factor,))
        right = _rights(outputs, given.y)
        layer = ScaledLayer(layer=entry.node.name, factor=factor, accuracy=float(right.mean()))
        found.append((layer, right))
    found.sort(key=lambda entry: -entry[0].accuracy)
    better, alike = _clear(own, found, with_chance(given.y))
    candidates = tuple(layer for layer, _ in found)
    accuracy = float(own.mean())
    return LayerScale(samples=len(own), accuracy=accuracy, candidates=candidates, better=better, alike=alike)


def _by_cross_entropy(
    network: Network, data: Dataset, how: str, tried: Sequence[_Tried]
) -> LayerScale | None:
    """Return the layer and factor with which the labels are clearly more probable, on more samples."""
    given = scaled(data.at(spread_rows(MORE_SAMPLES)(len(data.x))), how, network)[0]
    if given.y is None:
        return None
    x, y = given.x, given.y
    as_it_is = np.asarray(run_single(network, x, [network.output])[network.output], np.float64)
    own = cross_entropies(as_it_is, y)
    found: list[tuple[ScaledLayer, Reals]] = []
    for entry in sorted(tried, key=lambda entry: entry.cross_entropy)[:_FINALISTS]:
        for factor, outputs in _outputs(network, entry.node, x, (entry.factor,)):
            entropies, right = cross_entropies(outputs, y), float(_rights(outputs, y).mean())
            mean = float(entropies.mean())
            layer = ScaledLayer(layer=entry.node.name, factor=factor, accuracy=right, cross_entropy=mean)
            found.append((layer, entropies))
    found.sort(key=lambda entry: float(entry[1].mean()))
    if not found or not clearly_less(own, found[0][1]):
        return None
    better, least = found[0]
    others: dict[str, ScaledLayer] = {}
    for layer, entropies in found[1:]:
        more = entropies - least
        if layer.layer != better.layer and more.mean() <= _ALIKE * more.std() / len(y) ** 0.5:
            others.setdefault(layer.layer, layer)
    return LayerScale(
        samples=len(y),
        accuracy=float(_rights(as_it_is, y).mean()),
        candidates=tuple(layer for layer, _ in found),
        better=better,
        alike=tuple(others.values()),
        cross_entropy=float(own.mean()),
    )


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


def _rights(outputs: Reals, y: NDArray[np.int64]) -> Right:
    return np.asarray(largest(outputs) == y)


def _outputs(
    network: Network, node: Node, x: Reals, factors: tuple[float, ...]
) -> Iterator[tuple[float, Reals]]:
    """Yield the outputs of a network with the weights of a node times each factor.

    A bias is an operation of its own, so the sums are what is multiplied.
    """
    sums = np.asarray(run_single(network, x, [node.output])[node.output], np.float64)
    for factor in factors:
        values = {network.input: x, node.output: factor * sums}
        try:
            output = resume(network, values, [network.output])[network.output]
        except (UnsupportedModelError, ValueError):  # a value that is none, or no longer a number
            continue
        outputs = np.asarray(output, np.float64)
        if np.isfinite(outputs).all():
            yield factor, outputs
